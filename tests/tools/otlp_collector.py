"""A collector for OTLP over HTTP that prints what it is sent, one JSON object a line.

The messages are decoded by the classes that the OpenTelemetry project generates from its own definitions (the package
opentelemetry-proto). Usage: otlp_collector.py PORT [DELAY STATUS]: answer every request after so many seconds, with that status.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PATHS = {
    "/v1/metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse),
    "/v1/traces": (ExportTraceServiceRequest, ExportTraceServiceResponse),
}
delay, status = (float(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 2 else (0, 200)


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        known = PATHS.get(self.path)
        if known is None or self.headers["Content-Type"] != "application/x-protobuf":
            self.send_error(404)
            return
        request, response = known
        message = request()
        message.ParseFromString(body)
        time.sleep(delay)
        print(json.dumps({"path": self.path, "bytes": len(body), "body": MessageToDict(message)}), flush=True)
        answer = response().SerializeToString()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Collector)
print(json.dumps({"listening": server.server_address[1]}), flush=True)
server.serve_forever()
