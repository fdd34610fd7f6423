#!/bin/sh
# Writes the generated code beside the contracts. With --check it fails when that
# changes anything that is recorded.
. "$(dirname "$0")/lib.sh"

cd "$root"
if [ "${1:-}" != --check ]; then
	"$bin/buf" generate
	exit
fi
"$bin/buf" lint
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -R buf.yaml buf.gen.yaml proto "$copy"
ln -s "$bin" "$copy/.bin"
(cd "$copy" && find proto \( -name '*.pb.go' -o -name '*.pb.gw.go' \) -exec rm {} + && "$bin/buf" generate)
diff -r proto "$copy/proto" || die 'the generated code is not what the contracts say: make gen'
