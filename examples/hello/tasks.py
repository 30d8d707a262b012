"""A task. Run it with a worker and a caller, in two terminals, both in this folder:

umbel -A tasks worker -l info
python main.py
"""

from umbel import Umbel

app = Umbel("hello")


@app.task
def hello(name: str) -> str:
    return f"hello {name}"
