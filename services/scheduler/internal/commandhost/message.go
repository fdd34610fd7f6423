package commandhost

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// maxMessageBytes bounds one message of either side.
const maxMessageBytes = 16 << 20

// codeEnded is JSON-RPC's for what is the server's own affair.
const codeEnded = jsonrpc.CodeUnavailable

// message is what of a JSON-RPC message decides where it goes.
type message struct {
	// id is empty for a notification; token names a call whose progress is told.
	id, method, token, regards string
	// line is the whole of it without line feeds.
	line []byte
}

var errNoMessage = errors.New("this is no JSON-RPC message; a batch is none, either")

func parse(raw []byte) (message, error) {
	of, err := jsonrpc.Parse(raw)
	var line bytes.Buffer
	if err != nil || json.Compact(&line, raw) != nil || of.Method == "" && len(of.ID) == 0 {
		return message{}, errNoMessage
	}
	m := message{id: string(of.ID), method: of.Method, line: line.Bytes()}
	if m.token = plain(jsonrpc.Meta(of.Params, "progressToken")); m.method == "notifications/progress" {
		m.token = string(jsonrpc.ProgressToken(of.Params))
	}
	_ = jsonrpc.Members(of.Params, func(name string, value json.RawMessage) error { // nothing below fails
		if name == "requestId" {
			m.regards = plain(value)
		}
		return nil
	})
	return m, nil
}

// plain is an id as text; that of null is none.
func plain(raw json.RawMessage) string {
	if text := string(raw); text != "null" {
		return text
	}
	return ""
}

func (m message) isRequest() bool  { return m.method != "" && m.id != "" }
func (m message) isResponse() bool { return m.method == "" }

// common are the notifications that belong to no call.
func (m message) common() bool {
	for _, list := range []string{"tools/", "prompts/", "resources/", "roots/"} {
		if strings.HasPrefix(m.method, "notifications/"+list) {
			return true
		}
	}
	return false
}

// refusal is an error as an answer to a request.
func refusal(id string, code int, text string) []byte {
	return jsonrpc.NewError(json.RawMessage(id), code, text)
}
