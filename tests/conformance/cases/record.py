"""``python -m tests.conformance.cases.record HOST:PORT``: notes what an Apache Kafka answers to every case.

Each case is held twice; one whose answers differ between the two runs is no fair question and is shown.
"""

import json
import sys
import traceback

from tests.conformance import cases


def main() -> None:
    bootstrap = sys.argv[1]
    wanted = sys.argv[2:]
    answers = cases.kafka_answers() if cases.ANSWERS.exists() else {}
    for name in cases.load():
        if wanted and name not in wanted:
            continue
        try:
            first, second = (cases.hold(name, bootstrap) for _ in range(2))
        except Exception:
            print(f"{name}:\n{traceback.format_exc(limit=5)}")
            continue
        if first != second:
            print(f"{name}: differs from itself:\n  {first}\n  {second}")
        answers[name] = second
    kept = {name: answers[name] for name in cases.load() if name in answers}
    lines = [f"{json.dumps(name)}: {json.dumps(notes, ensure_ascii=False)}" for name, notes in kept.items()]
    cases.ANSWERS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
