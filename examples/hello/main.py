"""Sends calls and prints their results; see tasks.py."""

from tasks import hello

if __name__ == "__main__":
    print(hello.delay("world").get(timeout=30))

    # Many calls, sent in one round trip.
    results = hello.map_async(["Ada", "Grace", "Barbara"])
    for result in results:
        print(result.get(timeout=30))
