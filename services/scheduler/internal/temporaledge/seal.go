package temporaledge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// Temporal's task tokens are not signed: whoever knows the ids of another agent's run
// could make one. So what leaves here is sealed under the token of the agent that
// polled, and only that agent can hand it in. The seal also names the run, which
// completions do not.

const sealBytes = sha256.Size

// seal wraps a task token for its poller.
func seal(key, taskToken []byte, workflowID, runID string) []byte {
	if len(taskToken) == 0 {
		return nil // an empty poll
	}
	body := binary.AppendUvarint(nil, uint64(len(workflowID)))
	body = append(body, workflowID...)
	body = binary.AppendUvarint(body, uint64(len(runID)))
	body = append(body, runID...)
	body = append(body, taskToken...)
	return append(sum(key, body), body...)
}

// unseal takes the wrapping off; ok is false when this key did not seal it.
func unseal(key, sealed []byte) (taskToken []byte, workflowID, runID string, ok bool) {
	if len(sealed) < sealBytes || !hmac.Equal(sealed[:sealBytes], sum(key, sealed[sealBytes:])) {
		return nil, "", "", false
	}
	rest := sealed[sealBytes:]
	if workflowID, rest, ok = cut(rest); !ok {
		return nil, "", "", false
	}
	if runID, rest, ok = cut(rest); !ok {
		return nil, "", "", false
	}
	return rest, workflowID, runID, true
}

func cut(from []byte) (text string, rest []byte, ok bool) {
	n, used := binary.Uvarint(from)
	if used <= 0 || n > uint64(len(from)-used) {
		return "", nil, false
	}
	end := used + int(n) //nolint:gosec // n is at most the length of from
	return string(from[used:end]), from[end:], true
}

func sum(key, body []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	return mac.Sum(nil)
}
