//! How many packets flows have: P. Jurkiewicz, G. Rzym, P. Boryło, "Flow length and size distributions in campus Internet
//! traffic", Computer Communications 167, 2021, doi 10.1016/j.comcom.2020.12.016: a mixture that was fitted to the four
//! billion flows of a month at a university's border to the Internet.

/// Uniform from 1 to so many packets, with this weight.
const UNIFORM: [(f64, f64); 6] = [
    (0.305_026_577, 1.0),
    (0.248_419_880, 2.0),
    (0.063_660_637, 3.0),
    (0.049_216_500, 4.0),
    (0.009_315_592, 5.0),
    (0.082_174_742, 6.0),
];

/// Log-normal, with this weight: the deviation of the logarithm, and the median.
const LOG_NORMAL: [(f64, f64, f64); 4] = [
    (0.131_263_750, 0.520_702_349, 7.805_599_279),
    (0.073_286_154, 0.770_105_658, 22.109_725_015),
    (0.029_289_126, 1.125_264_530, 128.645_151_507),
    (0.008_347_043, 1.983_836_945, 1_084.470_758_477),
];

/// The most packets that a flow has here, lest one of few decides about all.
const MOST: f64 = 200_000.0;

/// Draws a flow's number of packets, from three numbers between 0 and 1.
pub(super) fn draw([choice, first, second]: [f64; 3]) -> u32 {
    let mut left = choice;
    for (weight, most) in UNIFORM {
        if left < weight {
            return (first * most) as u32 + 1;
        }
        left -= weight;
    }
    let mut last = 1.0;
    for (weight, deviation, median) in LOG_NORMAL {
        // G. Box and M. Muller, "A note on the generation of random normal deviates", 1958.
        let radius = (-2.0 * first.max(f64::MIN_POSITIVE).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * second).cos();
        last = median * (deviation * normal).exp();
        if left < weight {
            break;
        }
        left -= weight;
    }
    last.clamp(1.0, MOST).round() as u32
}
