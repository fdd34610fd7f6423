package runs

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

const echoSchema = `{"properties":{"text":{"title":"Text","type":"string"},"times":{"default":1,"title":"Times","type":"integer"},
	"note":{"anyOf":[{"type":"string"},{"type":"null"}],"default":null},"opt":{"$ref":"#/$defs/Opt"},"ratio":{"type":"number"}},
	"$defs":{"Opt":{"type":"object","properties":{"deep":{"type":"integer"}},"required":["deep"]}},
	"required":["text"],"title":"_schema_fn_proxyArguments","type":"object"}`

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		arguments string
		want      string   // the arranged object
		wantErr   []string // parts of the sentence
	}{
		"defaults are filled in order":       {arguments: `{"text":"hi"}`, want: `{"text":"hi","times":1,"note":null}`},
		"order of the signature":             {arguments: `{"times":3,"text":"hi"}`, want: `{"text":"hi","times":3,"note":null}`},
		"number in a string":                 {arguments: `{"text":"hi","times":"3"}`, want: `{"text":"hi","times":3,"note":null}`},
		"later one keeps the place":          {arguments: `{"text":"hi","ratio":0.5}`, want: `{"text":"hi","times":1,"note":null,"opt":null,"ratio":0.5}`},
		"big number stays exact":             {arguments: `{"text":"hi","times":9007199254740993}`, want: `{"text":"hi","times":9007199254740993,"note":null}`},
		"reserved names are dropped":         {arguments: `{"text":"hi","__mcp_agent_workflow_id":"x"}`, want: `{"text":"hi","times":1,"note":null}`},
		"missing":                            {arguments: `{}`, wantErr: []string{"1 validation error for _schema_fn_proxyArguments", "text\n  Field required"}},
		"nothing given":                      {arguments: ``, wantErr: []string{"text\n  Field required"}},
		"unknown":                            {arguments: `{"text":"a","txet":"b"}`, wantErr: []string{"txet\n  Unexpected keyword argument"}},
		"wrong type":                         {arguments: `{"text":"a","times":"x"}`, wantErr: []string{"times\n  Input should be a valid integer"}},
		"wrong alternative":                  {arguments: `{"text":"a","note":7}`, wantErr: []string{"note\n  Input should be a valid string or null"}},
		"nested":                             {arguments: `{"text":"a","opt":{"deep":"x"}}`, wantErr: []string{"opt.deep\n  Input should be a valid integer"}},
		"nested missing":                     {arguments: `{"text":"a","opt":{}}`, wantErr: []string{"opt\n  Fields required: deep"}},
		"several problems at once":           {arguments: `{"times":[]}`, wantErr: []string{"2 validation errors", "text\n", "times\n"}},
		"no object":                          {arguments: `[1]`, wantErr: []string{"must be one JSON object"}},
		"null is as good as an empty object": {arguments: `null`, wantErr: []string{"Field required"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			p, err := parseParameters(json.RawMessage(echoSchema))
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.check(tt.arguments)
			if len(tt.wantErr) == 0 {
				if err != nil {
					t.Fatalf("check(%s) = %v", tt.arguments, err)
				}
				if diff := cmp.Diff(tt.want, string(object(got))); diff != "" {
					t.Errorf("check(%s) (-want +got):\n%s", tt.arguments, diff)
				}
				return
			}
			if !fault.Invalid.Is(err) {
				t.Fatalf("check(%s) = %v, want an invalid fault", tt.arguments, err)
			}
			for _, part := range tt.wantErr {
				if !strings.Contains(fault.Message(err), part) {
					t.Errorf("check(%s) says %q, want it to contain %q", tt.arguments, fault.Message(err), part)
				}
			}
		})
	}
}

func TestSchemasThatCannotBeUsedStillOrderParameters(t *testing.T) {
	t.Parallel()
	for desc, schema := range map[string]string{
		"reference to a file":      `{"properties":{"a":{"$ref":"file:///etc/passwd"},"b":{"default":2}},"required":["a"]}`,
		"reference to an address":  `{"properties":{"a":{"$ref":"http://127.0.0.1/x"},"b":{"default":2}},"required":["a"]}`,
		"pattern of another kind":  `{"properties":{"a":{"pattern":"(?<=x)"},"b":{"default":2}},"required":["a"]}`,
		"nothing but what we need": `{"properties":{"a":{},"b":{"default":2}},"required":["a"]}`,
	} {
		p, err := parseParameters(json.RawMessage(schema))
		if err != nil {
			t.Fatalf("%s: parseParameters() = %v", desc, err)
		}
		got, err := p.check(`{"a":1}`)
		if err != nil || string(object(got)) != `{"a":1,"b":2}` {
			t.Errorf("%s: check() = %s, %v", desc, object(got), err)
		}
	}
}

func FuzzCheckNeverPanics(f *testing.F) {
	f.Add(echoSchema, `{"text":"a"}`)
	f.Add(`{"properties":[]}`, `{`)
	f.Fuzz(func(_ *testing.T, schema, arguments string) {
		if p, err := parseParameters(json.RawMessage(schema)); err == nil {
			_, _ = p.check(arguments)
		}
	})
}

func TestCheckOfOneObject(t *testing.T) {
	t.Parallel()
	const closed = `{"type":"object","properties":{"b":{"type":"integer"},"a":{"type":"string","default":"x"},"c":{}},"required":["b"],"additionalProperties":false}`
	tests := map[string]struct{ schema, arguments, want, wantErr string }{
		"any object":            {arguments: `{"z":1,"a":{"b":2}}`, want: `{"a":{"b":2},"z":1}`},
		"nothing":               {arguments: ``, want: `{}`},
		"defaults, and no null": {schema: closed, arguments: `{"b":1}`, want: `{"b":1,"a":"x"}`},
		"missing":               {schema: closed, arguments: `{}`, wantErr: "b\n  Field required"},
		"unknown":               {schema: closed, arguments: `{"b":1,"d":1}`, wantErr: "d\n  Unexpected keyword argument"},
		"unknown, and allowed":  {schema: `{"properties":{"b":{"type":"integer"}}}`, arguments: `{"d":1,"b":2}`, want: `{"b":2,"d":1}`},
		"wrong":                 {schema: `{"properties":{"b":{"type":"integer"}}}`, arguments: `{"d":1,"b":[]}`, wantErr: "b\n  Input should be a valid integer"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			p, err := wholeParameters(json.RawMessage(tt.schema))
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.check(tt.arguments)
			if tt.wantErr != "" {
				if !fault.Invalid.Is(err) || !strings.Contains(fault.Message(err), tt.wantErr) {
					t.Errorf("check(%s) = %v, want %q", tt.arguments, err, tt.wantErr)
				}
				return
			}
			if err != nil || string(object(got)) != tt.want {
				t.Errorf("check(%s) = %s, %v, want %s", tt.arguments, object(got), err, tt.want)
			}
		})
	}
}
