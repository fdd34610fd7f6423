package jsonrpc

import "bytes"

// IsResponse says whether a message is a response, by the first member that tells. It
// reads no further, and does not check the rest: the message is somebody else's, and is
// passed on as it is.
func IsResponse(message []byte) bool {
	rest := bytes.TrimLeft(message, " \t\r\n")
	if len(rest) == 0 || rest[0] != '{' {
		return false
	}
	for rest = rest[1:]; ; {
		rest = bytes.TrimLeft(rest, " \t\r\n,")
		end := stringEnd(rest)
		if end < 0 {
			return false
		}
		switch string(rest[1 : end-1]) {
		case "result", "error":
			return true
		case "method":
			return false
		}
		rest = bytes.TrimLeft(rest[end:], " \t\r\n:")
		if end = valueEnd(rest); end < 0 {
			return false
		}
		rest = rest[end:]
	}
}

// stringEnd is where the string ends that b begins with; negative when there is none.
func stringEnd(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return -1
	}
	for at := 1; ; {
		quote := bytes.IndexByte(b[at:], '"')
		if quote < 0 {
			return -1
		}
		at += quote + 1
		if !escaped(b[:at-1]) {
			return at
		}
	}
}

// escaped says whether what follows b is escaped: it ends with backslashes of an odd number.
func escaped(b []byte) bool {
	return (len(b)-len(bytes.TrimRight(b, `\`)))%2 == 1
}

// valueEnd is where the value ends that b begins with; negative when it does not.
func valueEnd(b []byte) int {
	depth := 0
	for at := 0; at < len(b); at++ {
		switch b[at] {
		case '"':
			end := stringEnd(b[at:])
			if end < 0 {
				return -1
			}
			at += end - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return at
			}
			depth--
		case ',':
			if depth == 0 {
				return at
			}
		}
		if depth == 0 && (b[at] == '"' || b[at] == '}' || b[at] == ']') {
			return at + 1
		}
	}
	return -1
}
