package modern_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
)

const annotatedTools = `{"tools":[
 {"name":"query","inputSchema":{"type":"object","properties":{
   "region":{"type":"string","x-mcp-header":"Region"},"limit":{"type":"integer","x-mcp-header":"limit"},"dry":{"type":"boolean","x-mcp-header":"DRY"},
   "where":{"type":"object","properties":{"tenant":{"type":"string","x-mcp-header":"Tenant"}}},"sql":{"type":"string"}}}},
 {"name":"plain","inputSchema":{"type":"object","properties":{"region":{"type":"string"}}}},
 {"name":"number","inputSchema":{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}},
 {"name":"no-token","inputSchema":{"properties":{"a":{"type":"string","x-mcp-header":"A b"}}}},
 {"name":"no-text","inputSchema":{"properties":{"a":{"type":"string","x-mcp-header":1}}}},
 {"name":"twice","inputSchema":{"properties":{"a":{"type":"string","x-mcp-header":"a"},"b":{"type":"string","x-mcp-header":"A"}}}},
 {"name":"in-items","inputSchema":{"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}}}
]}`

func toCall(arguments string, headers ...string) modern.Request {
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Add(headers[i], headers[i+1])
	}
	return modern.Request{Message: jsonrpc.Message{Method: modern.ToolsCall}, Name: "query", Arguments: json.RawMessage(arguments), ParamHeaders: h}
}

func TestParamHeaders(t *testing.T) {
	t.Parallel()
	all := modern.ReadParamHeaders(annotatedTools)
	if len(all) != 1 || len(all["query"]) != 4 {
		t.Fatalf("read %+v, want the four of query alone", all)
	}
	for name, test := range map[string]struct {
		call modern.Request
		ok   bool
	}{
		"none":                      {toCall(`{"sql":"x"}`), true},
		"no arguments":              {toCall(``), true},
		"equal":                     {toCall(`{"region":"us-west1"}`, "Mcp-Param-Region", "us-west1"), true},
		"all":                       {toCall(`{"region":"a","limit":42,"dry":true,"where":{"tenant":"t"}}`, "mcp-param-region", "a", "mcp-param-limit", "42", "mcp-param-dry", "true", "mcp-param-tenant", "t"), true},
		"space around":              {toCall(`{"region":"a b"}`, "Mcp-Param-Region", " \ta b "), true},
		"in base64":                 {toCall(`{"region":"größe"}`, "Mcp-Param-Region", "=?base64?Z3LDtsOfZQ==?="), true},
		"bad base64":                {toCall(`{"region":"größe"}`, "Mcp-Param-Region", "=?base64?Z3LDtsOfZQ=?="), false},
		"looks like base64":         {toCall(`{"region":"=?base64?YQ==?="}`, "Mcp-Param-Region", "=?base64?YQ==?="), false},
		"other":                     {toCall(`{"region":"us-west1"}`, "Mcp-Param-Region", "us-west2"), false},
		"other case":                {toCall(`{"region":"US"}`, "Mcp-Param-Region", "us"), false},
		"missing":                   {toCall(`{"region":"us-west1"}`), false},
		"missing inside":            {toCall(`{"where":{"tenant":"t"}}`), false},
		"twice":                     {toCall(`{"region":"a"}`, "Mcp-Param-Region", "a", "Mcp-Param-Region", "a"), false},
		"null":                      {toCall(`{"region":null}`), true},
		"null with header":          {toCall(`{"region":null}`, "Mcp-Param-Region", "null"), false},
		"absent with header":        {toCall(`{}`, "Mcp-Param-Region", "a"), false},
		"absent inside with header": {toCall(`{"where":1}`, "Mcp-Param-Tenant", "a"), false},
		"empty":                     {toCall(`{"region":""}`, "Mcp-Param-Region", ""), true},
		"whole numbers by value":    {toCall(`{"limit":42.0}`, "Mcp-Param-Limit", "42"), true},
		"by value the other way":    {toCall(`{"limit":42}`, "Mcp-Param-Limit", "4.2e1"), true},
		"other number":              {toCall(`{"limit":42}`, "Mcp-Param-Limit", "43"), false},
		"no number":                 {toCall(`{"limit":42}`, "Mcp-Param-Limit", "forty-two"), false},
		"hexadecimal":               {toCall(`{"limit":16}`, "Mcp-Param-Limit", "0x10"), false},
		"other boolean":             {toCall(`{"dry":true}`, "Mcp-Param-Dry", "false"), false},
		"not annotated":             {toCall(`{"sql":"x"}`, "Mcp-Param-Sql", "y"), true},
	} {
		refusal := all["query"].Check(test.call)
		if (refusal == nil) != test.ok || refusal != nil && (refusal.Code != modern.CodeHeaderMismatch || refusal.Status != http.StatusBadRequest) {
			t.Errorf("%s = %+v, want ok %v", name, refusal, test.ok)
		}
	}
}

// Headers of the next hop come from the body, whatever the client's were.
func TestParamHeadersAreWrittenAnew(t *testing.T) {
	t.Parallel()
	all := modern.ReadParamHeaders(annotatedTools)
	got := all["query"].Mirrored(toCall(`{"region":"größe","limit":4.2e1,"dry":false,"where":{"tenant":" t"}}`, "Mcp-Param-Region", "lies", "Mcp-Param-Other", "passes"))
	want := http.Header{
		"Mcp-Param-Region": {"=?base64?Z3LDtsOfZQ==?="}, "Mcp-Param-Limit": {"42"}, "Mcp-Param-Dry": {"false"}, "Mcp-Param-Tenant": {"=?base64?IHQ=?="}, "Mcp-Param-Other": {"passes"},
	}
	if diff := cmp.Diff(want, got.ParamHeaders); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if refusal := all["query"].Check(got); refusal != nil {
		t.Errorf("what is written does not hold: %v", refusal)
	}
	if none := all["query"].Mirrored(toCall(`{}`, "Mcp-Param-Region", "lies")); len(none.ParamHeaders) != 0 {
		t.Errorf("a header without an argument stays: %v", none.ParamHeaders)
	}
}
