#!/usr/bin/env bash
# Does what docs/start.md says, from `git clone` to a model of one's own explained, and tells the seconds:
#   scripts/time_start.sh torch
#   scripts/time_start.sh keras
set -euo pipefail
kind=$1
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
unset PYTHONPATH VIRTUAL_ENV
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
say() { echo "$SECONDS s: $1"; }

git clone -q "$source" gradsight
cd gradsight
"${PYTHON:-python3}" -m venv my-env
source my-env/bin/activate
say cloned
case $kind in
    torch) pip install -q -c constraints.txt '.[cli,demo]' ;;
    keras) pip install -q -c constraints.txt '.[cli,demo,keras]' ;;
esac
say installed
cp src/gradsight/data/cat_and_coffee.jpg photo.jpg
printf 'cat\ndog\ncup\n' >labels.txt
gradsight explain photo.jpg --top 3 >/dev/null
say 'a photo explained by the embedded model'

# The blocks of the page: files as it names them, and the session of Python.
python - <<'END'
import re

blocks = re.findall(r"^```(\w*)\n(.*?)^```$", open("docs/start.md").read(), re.DOTALL | re.MULTILINE)
session, lines = [], []
for language, text in blocks:
    name = re.match(r"# (\w+\.py)\n", text)
    if language == "python" and name:
        open(name[1], "w").write(text)
    elif language == "python":
        session.append(text)
    else:
        lines += [line for line in text.splitlines() if line.startswith(("gradsight explain photo.jpg --model", "python "))]
open("session.py", "w").write("\n".join(session))
open("torch.sh", "w").write("\n".join(line for line in lines if "keras" not in line) + "\n")
open("keras.sh", "w").write("\n".join(line for line in lines if "keras" in line) + "\n")
END
if [ "$kind" = torch ]; then
    python session.py >/dev/null
    say 'a network of my own explained in Python'
fi
while read -r line; do
    bash -c "$line" >/dev/null 2>&1
    say "$line"
done <"$kind.sh"
