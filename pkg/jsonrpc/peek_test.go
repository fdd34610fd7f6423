package jsonrpc_test

import (
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

func TestIsResponse(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]bool{
		`{"jsonrpc":"2.0","id":1,"result":{}}`:                               true,
		` { "id" : "a\\\"b" , "error" : {"code":1} }`:                        true,
		`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`:     false,
		`{"id":{"result":[1,{"x":"]"}]},"params":{"result":1},"method":"x"}`: false,
		`{"params":[["result"]],"id":7,"result":null}`:                       true,
		`{"id":true,"result":1}`:                                             true,
		`{"id":1}`:                                                           false,
		`{"id":1,`:                                                           false,
		`{"id":"`:                                                            false,
		`[]`:                                                                 false,
		``:                                                                   false,
	} {
		if got := jsonrpc.IsResponse([]byte(message)); got != want {
			t.Errorf("IsResponse(%s) = %t", message, got)
		}
	}
}

// What Parse can read, both read alike.
func FuzzIsResponse(f *testing.F) {
	for _, seed := range []string{`{"jsonrpc":"2.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","method":"a","params":{"b":"}"}}`, `{"jsonrpc":"2.0","id":"\\","error":[{}]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := jsonrpc.IsResponse([]byte(text))
		m, err := jsonrpc.Parse([]byte(text))
		if err != nil || strings.Contains(text, `\u`) || m.Method != "" && len(m.Result)+len(m.Error) > 0 {
			return
		}
		if got != m.IsResponse() {
			t.Errorf("IsResponse(%q) = %t", text, got)
		}
	})
}

func BenchmarkIsResponse(b *testing.B) {
	message := []byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("x", 1<<20) + `"}]}}`)
	for b.Loop() {
		if !jsonrpc.IsResponse(message) {
			b.Fatal("it is one")
		}
	}
}
