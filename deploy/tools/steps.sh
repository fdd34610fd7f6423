# One function per tool: have_NAME puts it into .bin. To be sourced after lib.sh.

command -v go >/dev/null 2>&1 || die 'Go is not installed: version 1.26 or later is needed (go.dev/dl)'

have_gotools() {
	cached gotools "$(go_digest "$tools/go.mod")" 'protobuf plugins and nats-server, about 20 s' make_gotools
	for name in protoc-gen-go protoc-gen-go-grpc protoc-gen-grpc-gateway protoc-gen-openapiv2 nats-server; do
		link "$place/$name" "$name"
	done
}
make_gotools() { GOBIN=$place go_alone -C "$tools" install -trimpath -ldflags '-s -w' tool; }

have_buf() {
	need npm npm
	cached buf "$BUF" 'from npm, a few seconds' make_buf
	link "$place/buf" buf
}
make_buf() {
	npm install --prefix "$place" --no-save --no-fund --no-audit "@bufbuild/buf@$BUF" || return
	set -- "$place"/node_modules/@bufbuild/buf-*/bin/buf
	[ -x "$1" ] || set -- "$place/node_modules/.bin/buf"
	ln -s "$1" "$place/buf"
}

have_uv() {
	need python3 'python3 python3-venv'
	cached uv "$UV" 'from PyPI, a few seconds' make_uv
	link "$place/bin/uv" uv
	link "$place/bin/uvx" uvx
}
make_uv() {
	python3 -m venv "$place" || {
		echo 'python3 cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv'
		return 1
	}
	"$place/bin/pip" install --quiet "uv==$UV"
}

have_cli() {
	cached cli "$(digest "$tools/cli/requirements.txt")" 'the public mcp-agent command line, about 20 s' make_cli
	link "$place/bin/mcp-agent" mcp-agent
}
make_cli() {
	"$bin/uv" venv --quiet --allow-existing "$place" &&
		VIRTUAL_ENV=$place "$bin/uv" pip install --compile-bytecode -r "$tools/cli/requirements.txt" &&
		"$place/bin/python" -c 'import mcp_agent.app'
}

# The folder is the HOME of npx when the command line uploads: MCP_DEPLOYMENT_CACHE_DIR.
# Its name stays the same from version to version.
have_wrangler() {
	need npx npm
	cached uploader "$WRANGLER" 'wrangler, which the command line uploads with, about 15 s' make_wrangler
	[ -L "$cache/wrangler" ] || rm -rf "$cache/wrangler"
	ln -sfn "$place" "$cache/wrangler"
}
make_wrangler() { HOME=$place npx --yes "wrangler@$WRANGLER" --version; }

have_temporald() {
	cached temporald "$(go_digest "$root/services/temporald")" 'compiling the Temporal server, about 5 min on two cores, once' make_temporald
	link "$place/temporald" temporald
}
make_temporald() {
	go_alone build -C "$root/services/temporald" -buildvcs=false -ldflags '-s -w' -o "$place/temporald" .
}

have_vaultd() {
	cached vaultd "$(go_digest "$root/services/vaultd")" 'compiling the Vault server, about 4 min on two cores, once' make_vaultd
	link "$place/vaultd" vaultd
}
make_vaultd() {
	go_alone build -C "$root/services/vaultd" -buildvcs=false -ldflags '-s -w' -o "$place/vaultd" .
}

have_lint() {
	cached lint "$(go_digest "$tools/lint/go.mod")" 'compiling golangci-lint, about 2 min, once' make_lint
	link "$place/golangci-lint" golangci-lint
}
make_lint() { GOBIN=$place go_alone -C "$tools/lint" install -trimpath -ldflags '-s -w' tool; }

have_postgres() {
	postgres=yes
	set -- /usr/lib/postgresql/*/bin/initdb
	[ -x "$1" ] || command -v initdb >/dev/null || {
		postgres=
		echo '  postgres     not installed: the stores are tested on SQLite alone. On Debian or Ubuntu: apt-get install postgresql'
	}
}

# The protocol's conformance suite needs Node 22, which npm brings along.
have_conformance() {
	need npm npm
	cached conformance "$CONFORMANCE-$NODE" 'the conformance suite of MCP, about 10 s' make_conformance
	link "$place" conformance
}
make_conformance() {
	npm install --prefix "$place" --no-save --no-fund --no-audit \
		"@modelcontextprotocol/conformance@$CONFORMANCE" "node-linux-$(node_arch)@$NODE" >/dev/null &&
		ln -sfn "$place/node_modules/node-linux-$(node_arch)/bin/node" "$place/node"
}
node_arch() { case $(uname -m) in aarch64 | arm64) echo arm64 ;; *) echo x64 ;; esac; }

# MCP clients that others have written: the new line of the Python SDK, both lines of the
# TypeScript SDK, the Inspector and mcp-remote.
have_clients() {
	have_uv
	have_conformance # brings the Node that they need
	cached clients "$(digest "$tools/versions")" 'MCP clients from npm and PyPI, about 20 s' make_clients
	ln -sf "$cache/conformance/$CONFORMANCE-$NODE/node" "$place/node"
	link "$place" clients
}
make_clients() {
	npm install --prefix "$place" --no-save --no-fund --no-audit \
		"@modelcontextprotocol/sdk@$SDK_OLD" "@modelcontextprotocol/client@$SDK_NEW" \
		"@modelcontextprotocol/inspector@$INSPECTOR" "mcp-remote@$MCP_REMOTE" &&
		ln -s node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js "$place/inspector.js" &&
		ln -s node_modules/mcp-remote/dist/proxy.js "$place/mcp-remote.js" &&
		"$bin/uv" venv --quiet "$place/python" &&
		VIRTUAL_ENV=$place/python "$bin/uv" pip install --compile-bytecode "mcp==$PYTHON_SDK"
}

# A real browser, for the pages that people see. The machine's own; Debian's is installed
# where that can be done.
have_browser() {
	if ! command -v chromium >/dev/null; then
		[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die 'chromium is not installed. On Debian: apt-get install chromium'
		mkdir -p "$cache/log"
		printf '  %-12s Chromium from Debian, about 60 s … ' browser
		began=$(date +%s)
		if ! { apt-get install -y --no-install-recommends chromium || { apt-get update && apt-get install -y --no-install-recommends chromium; }; } >"$cache/log/browser" 2>&1; then
			printf 'failed\n'
			tail -n 25 "$cache/log/browser" >&2
			die "chromium could not be installed; the whole output is in $cache/log/browser"
		fi
		printf '%s s\n' "$(($(date +%s) - began))"
		return
	fi
	[ -n "${QUIET:-}" ] || printf '  %-12s ready\n' browser
}

# A gateway of others, to measure beside ours.
have_toolhive() { cached toolhive "$TOOLHIVE" 'ToolHive, which the gateway is measured beside, about 5 min, once' make_toolhive; }
make_toolhive() { GOBIN=$place go_alone install -trimpath -ldflags '-s -w' "github.com/stacklok/toolhive/cmd/vmcp@v$TOOLHIVE"; }
