#!/bin/sh
# Every number of docs/control.md, from nothing: makes about 600 clips, then measures and prints the tables.
#
#   sh docs/control.sh OUT [options of generate, such as --checkpoint FOLDER or --workers 1] > tables.md
#
# Run from the repository root. manifests/emogator must be prepared (docs/corpora.md), for the clips that are varied and
# the real speakers beside the voices. A second call goes on where the first one stopped.
set -eu
out=${1:?usage: sh docs/control.sh OUT [options of generate]}
shift
emogator=manifests/emogator/manifest.jsonl

make() { # NAME OPTION...: a run of generate in OUT/NAME
    name=$1
    shift
    generate "$@" --out "$out/$name" -q >&2
}

tell() { # HEADING ARGUMENT...: a table of vocalburst control
    printf '\n### %s\n\n' "$1"
    shift
    vocalburst control "$@"
}

make intensity --all-emotions --intensity 0.2:1 --positions 5 --n 1 "$@"
for mix in amusement,triumph adoration,awe anger,disgust neutral,serenity; do
    make "mix/$mix" --emotion "$mix" --n 12 "$@"
done
for voice in 0 35 70 105 140 175; do
    make "voice/$voice" --all-emotions --voice "$voice" --n 1 "$@"
done
for seconds in 0.3 0.5 1 1.5; do
    make "duration/$seconds" --all-emotions --duration "$seconds" --n 1 "$@"
done
make sweep/amusement-awe --from amusement --to awe --positions 5 --n 6 "$@"
make sweep/neutral-triumph --from neutral --to triumph --positions 5 --n 6 "$@"

# The clips that are varied: the first take of `neutral` by each of twelve dev speakers.
python - "$emogator" "$out/real" <<'PYTHON'
import sys
from pathlib import Path

from vocalburst.gen.data.audio import encode_wave, write_file
from vocalburst.gen.data.manifest import manifest_root, read_clip, read_manifest

manifest, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
first = {}
for clip in read_manifest(manifest):
    if clip.split == "dev" and "neutral" in clip.emotions:
        first.setdefault(clip.speaker, clip)
for clip in list(first.values())[:12]:
    write_file(folder / f"{clip.id}.wav", encode_wave(read_clip(manifest_root(manifest), clip)))
PYTHON
for strength in 0.2 0.4 0.6 0.8 1; do
    make "variation/$strength" --emotion amusement --like "$out"/real/*.wav --strength "$strength" "$@"
done

tell Intensity "$out/intensity" --of intensity
tell Mixes "$out"/mix/* "$out/intensity" --of mix
tell Voices "$out"/voice/* --of voice --reference emogator:dev
tell Duration "$out"/duration/* --of duration
tell Sweeps "$out"/sweep/* --of sweep
tell Variations "$out"/variation/* --of variation
