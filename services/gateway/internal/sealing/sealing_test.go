package sealing_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sealing"
)

// handle is the nth that is given out.
func handle(n int) string { return fmt.Sprintf("mcpac_sc_00000000-0000-4000-8000-%012d", n) }

func TestSeal(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in              sealing.Files
		config, overlay string
		kept            []string
	}{
		"what a .env left": {
			in: sealing.Files{
				Raw:      []byte("name: leak\nopenai: {default_model: m, reasoning_effort: high}\n"),
				Deployed: []byte("name: leak\nopenai:\n    api_key: sk-1\n    default_model: m\n    secret: s\nsecret: s\nopenai_api_key: sk-1\n"),
				Secrets:  []byte("{}\n"),
			},
			config:  "name: leak\nopenai:\n    default_model: m\n",
			overlay: fmt.Sprintf("openai:\n    api_key: %s\n    secret: %s\nsecret: %s\nopenai_api_key: %s\n", handle(1), handle(2), handle(3), handle(4)),
			kept:    []string{"openai.api_key=sk-1", "openai.secret=s", "secret=s", "openai_api_key=sk-1"},
		},
		"what the project says itself": {
			in: sealing.Files{
				Raw:      []byte("custom: &c {thing: mine, deep: {a: b}}\nother: *c\n"),
				Deployed: []byte("custom:\n  thing: mine\n  deep:\n    a: b\nother:\n  thing: mine\n"),
			},
		},
		"what shows how an app is built": {
			in: sealing.Files{
				Deployed: []byte("name: n\ndescription: d\nopenai: {base_url: 'https://x.example/v1', default_model: m}\nmcp: {servers: {f: {command: uvx, args: [a]}}}\nlogger: {level: debug}\nn: 1\nb: true\n"),
			},
		},
		"variables and headers of servers": {
			in: sealing.Files{
				Deployed: []byte("mcp:\n    servers:\n        f:\n            command: uvx\n            env:\n                TOKEN: t\n"),
			},
			config:  "mcp:\n    servers:\n        f:\n            command: uvx\n            env: {}\n",
			overlay: "mcp:\n    servers:\n        f:\n            env:\n                TOKEN: " + handle(1) + "\n",
			kept:    []string{"mcp.servers.f.env.TOKEN=t"},
		},
		"an address with a password": {
			in:      sealing.Files{Deployed: []byte("db: https://u:p@x.example\nq: https://x.example/?key=k\n")},
			config:  "{}\n",
			overlay: "db: " + handle(1) + "\nq: " + handle(2) + "\n",
			kept:    []string{"db=https://u:p@x.example", "q=https://x.example/?key=k"},
		},
		"an overlay with handles and marks stays": {
			in: sealing.Files{
				Deployed: []byte("openai: {api_key: again, more: x}\ngithub: {token: y}\n"),
				Secrets:  []byte("openai: {api_key: " + handle(9) + "}\ngithub:\n    token: !user_secret\n"),
			},
			config:  "openai: {}\ngithub: {}\n",
			overlay: "openai: {api_key: " + handle(9) + ", more: " + handle(2) + "}\ngithub:\n    token: !user_secret\n",
			kept:    []string{"openai.api_key=again", "openai.more=x", "github.token=y"},
		},
		"no settings at all": {},
		"an empty file":      {in: sealing.Files{Deployed: []byte("\n")}},
		"a list":             {in: sealing.Files{Deployed: []byte("- a\n")}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var kept []string
			got, err := sealing.Seal(test.in, func(name, value string) (string, error) {
				kept = append(kept, name+"="+value)
				return handle(len(kept)), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if test.kept == nil {
				test.config, test.overlay = string(test.in.Deployed), string(test.in.Secrets)
			}
			for what, diff := range map[string]string{
				"settings": cmp.Diff(test.config, string(got.Deployed)), "overlay": cmp.Diff(test.overlay, string(got.Secrets)), "kept": cmp.Diff(test.kept, kept),
			} {
				if diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	many := &strings.Builder{}
	for i := range 300 {
		fmt.Fprintf(many, "k%d: v\n", i)
	}
	away := fault.Unavailable.Errorf("the secret store is away")
	tests := map[string]struct {
		in   sealing.Files
		want fault.Kind
	}{
		"no YAML":                 {sealing.Files{Deployed: []byte("a: [")}, fault.Invalid},
		"an overlay that is none": {sealing.Files{Deployed: []byte("a: b"), Secrets: []byte("a: [")}, fault.Invalid},
		"too many":                {sealing.Files{Deployed: []byte(many.String())}, fault.TooLarge},
		"the store is away":       {sealing.Files{Deployed: []byte("a: b")}, fault.Unavailable},
		"too deep":                {sealing.Files{Deployed: []byte(strings.Repeat("{a: ", 100) + "b" + strings.Repeat("}", 100))}, fault.Invalid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := sealing.Seal(test.in, func(string, string) (string, error) {
				if test.want == fault.Unavailable {
					return "", away
				}
				return handle(1), nil
			})
			if !test.want.Is(err) {
				t.Errorf("Seal() = %v", err)
			}
		})
	}
}

// Whatever is uploaded, no kept value stays in the clear, and nothing panics.
func FuzzSeal(f *testing.F) {
	f.Add([]byte("a: &x [*x]\n"), []byte("openai: {k: secret-value}\n"), []byte("openai: x\n"))
	f.Add([]byte(""), []byte("? {a: b}\n: c\n"), []byte("!t {}"))
	f.Fuzz(func(t *testing.T, raw, deployed, secrets []byte) {
		const mark = "never-in-the-open"
		got, err := sealing.Seal(sealing.Files{Raw: raw, Deployed: append([]byte("extra: "+mark+"\n"), deployed...), Secrets: secrets}, func(string, string) (string, error) {
			return handle(1), nil
		})
		if err != nil {
			if errors.Is(err, errors.ErrUnsupported) {
				t.Error(err)
			}
			return
		}
		if strings.Contains(string(got.Deployed), "extra: "+mark) && !strings.Contains(string(raw), mark) {
			t.Errorf("it is there still: %s", got.Deployed)
		}
	})
}
