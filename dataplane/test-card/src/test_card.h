/* What a test does with the card: the other end of its wires, and its clock. */
#ifndef REWIRE_TEST_CARD_H
#define REWIRE_TEST_CARD_H

#include <stdint.h>

enum { TEST_CARD_TO_CORE = 0, TEST_CARD_FORWARDED = 1, TEST_CARD_DROPPED = 2, TEST_CARD_NO_CARD = -1 };

/* A frame comes in by the wire of a port. What became of it: one of the above. */
int rewire_test_card_arrive(uint16_t port, const uint8_t *frame, uint16_t length);
/* Takes the next frame that left by the wire of a port. Its length; 0: none. */
int rewire_test_card_depart(uint16_t port, uint8_t *frame, uint16_t room);
/* How many rules, tables and templates there are. */
int rewire_test_card_holds(uint16_t port, uint32_t *rules, uint32_t *tables, uint32_t *templates);
/* How many of those there were when ports were closed, in all. */
uint64_t rewire_test_card_left_behind(void);
/* Moves the clock that rules age by. */
void rewire_test_card_advance(uint64_t seconds);

#endif
