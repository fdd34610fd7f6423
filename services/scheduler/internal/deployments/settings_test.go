package deployments

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

const (
	handleA = "mcpac_sc_61b0f683-cf4c-4f0a-8c38-c9a6533885dd"
	handleB = "mcpac_sc_f8e8954e-517d-44f0-a4e9-405477b646a2"
	handleC = "mcpac_sc_e5ba88c7-9fce-4eac-8b93-b9bbc6e5a06a"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	const forced = `"temporal":{"host":"127.0.0.1:7","namespace":"org_1","task_queue":"app_1"},
		"logger":{"type":"console","transports":["console"],"progress_display":false}`
	tests := map[string]struct {
		manifest *builderv1.Manifest
		params   map[string]string
		want     string
	}{
		"nothing said": {manifest: &builderv1.Manifest{}, want: `{` + forced + `}`},
		"handles become values, deep and in lists": {
			manifest: &builderv1.Manifest{
				SettingsJson: `{"openai":{"default_model":"m"},"mcp":{"servers":{"x":{"args":["a"]}}}}`,
				SecretsJson:  `{"openai":{"api_key":"` + handleA + `"},"mcp":{"servers":{"x":{"headers":["` + handleB + `","plain"]}}}}`,
			},
			want: `{"openai":{"default_model":"m","api_key":"value-a"},
				"mcp":{"servers":{"x":{"args":["a"],"headers":["value-b","plain"]}}},` + forced + `}`,
		},
		"handle without a value is left out": {
			manifest: &builderv1.Manifest{SecretsJson: `{"openai":{"api_key":"` + handleC + `","base_url":"u"}}`},
			want:     `{"openai":{"base_url":"u"},` + forced + `}`,
		},
		"place of a user's secret without a value": {
			manifest: &builderv1.Manifest{SecretsJson: `{"github":{"token":"!user_secret","host":"h"}}`, UserParams: []string{"github.token"}},
			want:     `{"github":{"host":"h"},` + forced + `}`,
		},
		"place of a user's secret with a value": {
			manifest: &builderv1.Manifest{SecretsJson: `{"github":{"token":null}}`, UserParams: []string{"github.token", "a.b.c"}},
			params:   map[string]string{"github.token": handleA, "a.b.c": handleB},
			want:     `{"github":{"token":"value-a"},"a":{"b":{"c":"value-b"}},` + forced + `}`,
		},
		"the platform's keys win": {
			manifest: &builderv1.Manifest{SettingsJson: `{"temporal":{"host":"evil:1","api_key":"x","timeout_seconds":90},
				"logger":{"level":"debug","transports":["file"],"path":"/etc/x"},"env":[{"A":"b"}]}`},
			want: `{"temporal":{"host":"127.0.0.1:7","namespace":"org_1","task_queue":"app_1","timeout_seconds":90},
				"logger":{"level":"debug","type":"console","transports":["console"],"progress_display":false}}`,
		},
		"numbers stay as written": {
			manifest: &builderv1.Manifest{SettingsJson: `{"n":12345678901234567890,"f":1.50}`},
			want:     `{"n":12345678901234567890,"f":1.50,` + forced + `}`,
		},
		"an empty file": {manifest: &builderv1.Manifest{SettingsJson: `null`}, want: `{` + forced + `}`},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			got, err := settings(ingredients{
				manifest: tt.manifest, params: tt.params, values: map[string]string{handleA: "value-a", handleB: "value-b"},
				temporal: agentenv.Temporal{Address: "127.0.0.1:7", Namespace: "org_1", TaskQueue: "app_1"},
			})
			if err != nil {
				t.Fatalf("settings() = %v", err)
			}
			want, err := object(tt.want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(encode(t, want), encode(t, got)); diff != "" {
				t.Errorf("settings() (-want +got):\n%s", diff)
			}
		})
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSettingsThatAreNoObject(t *testing.T) {
	t.Parallel()
	if _, err := settings(ingredients{manifest: &builderv1.Manifest{SettingsJson: `[1]`}}); err == nil {
		t.Error("settings() = nil, want an error")
	}
}

func TestHandlesAndEnvironment(t *testing.T) {
	t.Parallel()
	m := &builderv1.Manifest{SecretHandles: []string{handleB, handleA}, EnvHandles: map[string]string{"TOKEN": handleA, "LOST": handleC}}
	if diff := cmp.Diff([]string{handleA, handleC, handleB}, handles(m, map[string]string{"x.y": handleB})); diff != "" {
		t.Errorf("handles() (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"TOKEN": "v", "MORE": "more"}, environment(m, map[string]string{"TOKEN": handleB, "MORE": "handle-more", "GONE": "handle-gone"}, map[string]string{handleA: "v", handleB: "loses", "handle-more": "more"})); diff != "" {
		t.Errorf("environment() (-want +got):\n%s", diff)
	}
}
