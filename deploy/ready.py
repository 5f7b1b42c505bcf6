"""Asks a process of ours whether it is ready; the exit code says so. For containers without curl.

    ready.py 127.0.0.1:7480                   a flow service, by grpc.health.v1
    ready.py http://127.0.0.1:9100/readyz     a host of processors

Kubernetes could ask the first by itself, but not where it listens: on loopback.
"""

import sys
import urllib.error
import urllib.request

TIMEOUT_S = 4.0


def grpc_health(target: str) -> str:
    """Empty where it serves, else why not."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(target) as channel:
        ask = health_pb2_grpc.HealthStub(channel).Check
        try:
            answer = ask(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return error.details() or error.code().name
    state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return "" if state == "SERVING" else state


def http(url: str) -> str:
    """Empty where the answer is 200, else why not."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode("utf-8", "replace").strip() or str(error)
    except OSError as error:
        return str(error)


if __name__ == "__main__":
    where = sys.argv[1]
    reason = http(where) if where.startswith("http://") else grpc_health(where)
    sys.exit(reason or 0)
