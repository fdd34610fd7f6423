package outcomes

import (
	"bytes"
	"slices"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
)

// longestName bounds what is kept of a string that may be a member's name.
const longestName = len("isError") + 1

// verdict reads a response as it comes, as far as it takes to say whether the call failed:
// an answer may be too large to be kept. Of what is no JSON it says that nothing failed.
type verdict struct {
	depth    int
	inString bool
	slashes  int // backslashes at the end of what was seen of a string
	last     []byte
	names    [3][]byte // of the members that one is in, by depth
	value    bool      // the next byte that is no space begins a member's value
	inCode   bool
	negative bool

	isError, hasError bool
	code              int
}

// failed says whether the call did.
func (v *verdict) failed() bool { return v.isError || v.hasError && !callersFault(v.code) }

// callersFault says whether an error of the protocol blames the caller.
func callersFault(code int) bool {
	return slices.Contains([]int{
		jsonrpc.CodeInvalidRequest, jsonrpc.CodeInvalidParams, jsonrpc.CodeMethodNotFound,
		jsonrpc.CodeUnsupportedVersion, modern.CodeHeaderMismatch, modern.CodeMissingCapability,
	}, code)
}

func (v *verdict) look(part []byte) {
	for len(part) > 0 {
		if v.inString {
			part = v.text(part)
			continue
		}
		v.step(part[0])
		part = part[1:]
	}
}

// text goes behind the string, or to the end of the part.
func (v *verdict) text(part []byte) (rest []byte) {
	end := bytes.IndexByte(part, '"')
	seen := part
	if end >= 0 {
		seen = part[:end]
	}
	if room := longestName - len(v.last); room > 0 && v.depth < len(v.names) {
		v.last = append(v.last, seen[:min(room, len(seen))]...)
	}
	slashes := len(seen) - len(bytes.TrimRight(seen, `\`))
	if slashes == len(seen) {
		slashes += v.slashes
	}
	if v.slashes = slashes; end < 0 {
		return nil
	}
	v.slashes, v.inString = 0, slashes%2 == 1
	return part[end+1:]
}

// step takes a byte that is in no string.
func (v *verdict) step(b byte) {
	if v.value && b != ' ' && b != '\t' && b != '\n' && b != '\r' {
		v.value = false
		v.begin(b)
	}
	if v.inCode {
		v.digit(b)
	}
	switch b {
	case '"':
		v.inString, v.last = true, v.last[:0]
	case '{', '[':
		v.depth++
	case '}', ']':
		v.depth--
	case ':':
		if v.depth > 0 && v.depth < len(v.names) {
			v.names[v.depth] = append(v.names[v.depth][:0], v.last...)
			v.value = true
		}
	}
}

// begin looks at the first byte of a member's value.
func (v *verdict) begin(b byte) {
	switch name, in := string(v.names[v.depth]), string(v.names[1]); {
	case v.depth == 1 && name == "error":
		v.hasError = b != 'n' // it is not null
	case v.depth == 2 && in == "result" && name == "isError":
		v.isError = b == 't'
	case v.depth == 2 && in == "error" && name == "code":
		v.inCode, v.code, v.negative = true, 0, false
	}
}

func (v *verdict) digit(b byte) {
	const most = 1 << 24 // codes have five digits
	switch {
	case b == '-' && v.code == 0:
		v.negative = true
	case b >= '0' && b <= '9' && v.code < most:
		v.code = 10*v.code + int(b-'0')
	default:
		if v.inCode = false; v.negative {
			v.code = -v.code
		}
	}
}
