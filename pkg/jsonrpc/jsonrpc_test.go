package jsonrpc_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

func raw(text string) json.RawMessage { return json.RawMessage(text) }

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body string
		want jsonrpc.Message
	}{
		"request":               {`{"jsonrpc":"2.0","id":1,"method":"ping"}`, jsonrpc.Message{Version: "2.0", ID: raw("1"), Method: "ping"}},
		"id of text":            {`{"jsonrpc":"2.0","id":"a\"b","method":"ping"}`, jsonrpc.Message{Version: "2.0", ID: raw(`"a\"b"`), Method: "ping"}},
		"negative id":           {`{"jsonrpc":"2.0","id":-0,"method":"ping"}`, jsonrpc.Message{Version: "2.0", ID: raw("-0"), Method: "ping"}},
		"huge id":               {`{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"ping"}`, jsonrpc.Message{Version: "2.0", ID: raw("123456789012345678901234567890"), Method: "ping"}},
		"id with exponent":      {`{"jsonrpc":"2.0","id":1e3,"method":"ping"}`, jsonrpc.Message{Version: "2.0", ID: raw("1e3"), Method: "ping"}},
		"notification":          {`{"jsonrpc":"2.0","method":"notifications/initialized"}`, jsonrpc.Message{Version: "2.0", Method: "notifications/initialized"}},
		"null id is none":       {`{"jsonrpc":"2.0","id":null,"method":"ping"}`, jsonrpc.Message{Version: "2.0", Method: "ping"}},
		"order does not matter": {`{"params":{"b":1,"a":2},"method":"m","id":1,"jsonrpc":"2.0"}`, jsonrpc.Message{Version: "2.0", ID: raw("1"), Method: "m", Params: raw(`{"b":1,"a":2}`)}},
		"bytes are kept":        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\": { \"é\\u00e9<>\" : [ 1.50 ,\n{} ] } }\n", jsonrpc.Message{Version: "2.0", ID: raw("1"), Method: "m", Params: raw("{ \"é\\u00e9<>\" : [ 1.50 ,\n{} ] }")}},
		"response":              {`{"jsonrpc":"2.0","id":"agentcloud-q","result":{"action":"accept"}}`, jsonrpc.Message{Version: "2.0", ID: raw(`"agentcloud-q"`), Result: raw(`{"action":"accept"}`)}},
		"result of null":        {`{"jsonrpc":"2.0","id":1,"result":null}`, jsonrpc.Message{Version: "2.0", ID: raw("1"), Result: raw("null")}},
		"no error after all":    {`{"jsonrpc":"2.0","id":1,"result":{},"error":null}`, jsonrpc.Message{Version: "2.0", ID: raw("1"), Result: raw("{}")}},
		"error":                 {`{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}`, jsonrpc.Message{Version: "2.0", ID: raw("1"), Error: raw(`{"code":-1,"message":"no"}`)}},
		"error of no id":        {`{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"no"}}`, jsonrpc.Message{Version: "2.0", Error: raw(`{"code":-1,"message":"no"}`)}},
		"other case is another": {`{"jsonrpc":"2.0","id":1,"method":"m","Method":"other","PARAMS":{}}`, jsonrpc.Message{Version: "2.0", ID: raw("1"), Method: "m"}},
		"escaped names":         {`{"jsonr\u0070c":"2.0","id":1,"m\u0065thod":"p\u0069ng"}`, jsonrpc.Message{Version: "2.0", ID: raw("1"), Method: "ping"}},
		"braces in text":        {`{"jsonrpc":"2.0","x":"}\\\"]{","id":1,"method":"m"}`, jsonrpc.Message{Version: "2.0", ID: raw("1"), Method: "m"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			got, err := jsonrpc.Parse([]byte(tt.body))
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("Parse(%s) = %v, -want +got:\n%s", tt.body, err, diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for desc, body := range map[string]string{
		"nothing":            "",
		"space":              " \n",
		"text":               `"ping"`,
		"number":             `1`,
		"batch":              `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`,
		"half":               `{"jsonrpc":"2.0","id":1,`,
		"two":                `{"jsonrpc":"2.0","method":"a"}{"jsonrpc":"2.0","method":"a"}`,
		"no version":         `{"id":1,"method":"ping"}`,
		"version 1":          `{"jsonrpc":"1.0","id":1,"method":"ping"}`,
		"version as number":  `{"jsonrpc":2.0,"id":1,"method":"ping"}`,
		"neither":            `{"jsonrpc":"2.0","id":1}`,
		"method as number":   `{"jsonrpc":"2.0","id":1,"method":1}`,
		"id as object":       `{"jsonrpc":"2.0","id":{},"method":"ping"}`,
		"id as array":        `{"jsonrpc":"2.0","id":[1],"method":"ping"}`,
		"id as bool":         `{"jsonrpc":"2.0","id":true,"method":"ping"}`,
		"method twice":       `{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}`,
		"method twice, once": `{"jsonrpc":"2.0","id":1,"method":"tools/list","m\u0065thod":"tools/call"}`,
		"id twice":           `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`,
		"params twice":       `{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"params":{"a":1}}`,
		"not UTF-8":          "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"a\":\"\xff\xfe\"}}",
		"NaN":                `{"jsonrpc":"2.0","id":NaN,"method":"ping"}`,
		"too deep":           `{"jsonrpc":"2.0","id":1,"method":"ping","params":` + strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000) + `}`,
		"gzip":               "\x1f\x8b\x08\x00\x00",
	} {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			if m, err := jsonrpc.Parse([]byte(body)); !fault.Invalid.Is(err) {
				t.Errorf("Parse(%.80s) = %+v, %v, want invalid", body, m, err)
			}
		})
	}
}

func TestParseCall(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		params string
		want   jsonrpc.Call
		bad    bool
	}{
		"whole": {
			params: `{"name":"add","arguments":{"b":2,"a":1},"_meta":{"progressToken":"p"}}`,
			want:   jsonrpc.Call{Name: "add", Arguments: raw(`{"b":2,"a":1}`), ProgressToken: raw(`"p"`)},
		},
		"labels":                  {params: `{"name":"add","_meta":{"io.agentcloud/labels":{"team":"red"}}}`, want: jsonrpc.Call{Name: "add", Labels: raw(`{"team":"red"}`)}},
		"numeric token":           {params: `{"name":"add","_meta":{"x":{"progressToken":1},"progressToken":7}}`, want: jsonrpc.Call{Name: "add", ProgressToken: raw("7")}},
		"priority":                {params: `{"name":"add","_meta":{"io.agentcloud/priority":2}}`, want: jsonrpc.Call{Name: "add", Priority: raw("2")}},
		"token of no kind":        {params: `{"name":"add","_meta":{"progressToken":{}}}`, want: jsonrpc.Call{Name: "add"}},
		"meta of no kind":         {params: `{"name":"add","_meta":5}`, want: jsonrpc.Call{Name: "add"}},
		"name in other case":      {params: `{"name":"workflows-cancel","Name":"add"}`, want: jsonrpc.Call{Name: "workflows-cancel"}},
		"name twice":              {params: `{"name":"add","name":"workflows-cancel"}`, bad: true},
		"arguments twice":         {params: `{"name":"add","arguments":{},"arguments":{"a":1}}`, bad: true},
		"name is no text":         {params: `{"name":1}`, bad: true},
		"no object":               {params: `[]`, bad: true},
		"nothing":                 {params: ``, bad: true},
		"nothing said of nothing": {params: `{}`, want: jsonrpc.Call{}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			got, err := jsonrpc.ParseCall(raw(tt.params))
			if diff := cmp.Diff(tt.want, got); fault.Invalid.Is(err) != tt.bad || diff != "" {
				t.Errorf("ParseCall(%s) = %v, -want +got:\n%s", tt.params, err, diff)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for want, got := range map[string][]byte{
		`{"jsonrpc":"2.0","id":"<&>","result":{"a": 1}}`:                                             jsonrpc.NewResult(raw(`"<&>"`), raw(`{"a": 1}`)),
		`{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"a < b"}}`:                         jsonrpc.NewError(raw("1"), jsonrpc.CodeInternal, "a < b"),
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}`:                          jsonrpc.NewError(nil, jsonrpc.CodeParse, "x"),
		`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"<b>` + "\u2028" + `"}}`: jsonrpc.NewRequest(nil, "notifications/message", raw(`{"data": "<b>`+"\u2028"+`"}`)),
	} {
		if string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// FuzzParse holds the reader against the standard library's: what is accepted reads
// the same there, and nothing is accepted that is no JSON.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":[1,2,{"b":null}]},"_meta":{"progressToken":1}}}`,
		`{"jsonrpc":"2.0","id":"x","result":{"\"":"\\"}}`, `[]`, `{"a":{}}`, ` {"jsonrpc" : "2.0" , "method" : "m" } `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := jsonrpc.Parse(body)
		if err != nil {
			return
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(body, &all); err != nil {
			t.Fatalf("Parse accepts %q: %v", body, err)
		}
		for name, got := range map[string]json.RawMessage{"id": m.ID, "params": m.Params, "result": m.Result, "error": m.Error} {
			if want := all[name]; string(got) != string(want) && (got != nil || string(want) != "null") {
				t.Errorf("%s of %q = %q, want %q", name, body, got, want)
			}
		}
		var method string
		if _ = json.Unmarshal(all["method"], &method); method != m.Method {
			t.Errorf("method of %q = %q, want %q", body, m.Method, method)
		}
		if m.IsRequest() && !json.Valid(jsonrpc.NewError(m.ID, 1, method)) {
			t.Errorf("the id of %q makes an answer that is no JSON", body)
		}
		if call, err := jsonrpc.ParseCall(m.Params); err == nil && call.Arguments != nil && !json.Valid(call.Arguments) {
			t.Errorf("arguments of %q = %q", body, call.Arguments)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	body := []byte(`{"jsonrpc":"2.0","id":12,"method":"tools/call","params":{"name":"workflows-get_status","arguments":{"run_id":"5c0f7a0e-0000-4000-8000-000000000000"},"_meta":{"progressToken":12}}}`)
	b.ReportAllocs()
	for b.Loop() {
		m, _ := jsonrpc.Parse(body)
		if _, err := jsonrpc.ParseCall(m.Params); err != nil {
			b.Fatal(err)
		}
	}
}
