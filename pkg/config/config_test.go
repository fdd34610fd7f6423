package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/config"
)

type settings struct {
	Ports string            `koanf:"app_ports"`
	Wait  time.Duration     `koanf:"wait"`
	Mesh  map[string]string `koanf:"mesh"`
	Names []string          `koanf:"names" help:"who"`
	Deep  struct {
		Size int  `koanf:"size"`
		On   bool `koanf:"on"`
	} `koanf:"deep"`
}

func (s *settings) Validate() error {
	if s.Deep.Size < 0 {
		return errors.New("deep.size must not be negative")
	}
	return nil
}

func TestLoad(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		file, env, set string
		want           func(*settings)
		err            string
	}{
		"defaults":              {want: func(*settings) {}},
		"a file":                {file: "app_ports: 1-2\ndeep:\n  size: 9\n", want: func(s *settings) { s.Ports = "1-2"; s.Deep.Size = 9 }},
		"environment over file": {file: "wait: 1s\n", env: "T_WAIT=5s", want: func(s *settings) { s.Wait = 5 * time.Second }},
		"nested environment":    {env: "T_DEEP__ON=true", want: func(s *settings) { s.Deep.On = true }},
		"a flag over all":       {env: "T_APP_PORTS=3-4", set: "app_ports=5-6", want: func(s *settings) { s.Ports = "5-6" }},
		"pairs":                 {set: "mesh=a=1:2,b=3:4", want: func(s *settings) { s.Mesh = map[string]string{"a": "1:2", "b": "3:4"} }},
		"unknown key in a file": {file: "app_port: 1\n", err: "app_ports"},
		"unknown key in a flag": {set: "deep.sise=1", err: "deep.size"},
		"no assignment":         {set: "wait", err: "write key=value"},
		"a bad value":           {set: "wait=soon", err: "'wait'"},
		"no value":              {env: "T_DEEP__SIZE=", err: "is empty"},
		"no unit":               {file: "wait: 30\n", err: "write 30s"},
		"no such file":          {file: "-", err: "settings file"},
		"broken YAML":           {file: "wait: [", err: "settings file"},
		"a key twice":           {file: "wait: 1s\nwait: 2s\n", err: "already defined"},
		"unknown far away":      {set: "completely_different_thing=1", err: "--help lists them all"},
		"unknown environment":   {env: "T_DEEP__SIZ=1", err: "deep.size"},
		"a stranger's variable": {env: "OTHER_WAIT=9s", want: func(*settings) {}},
		"a list":                {set: "names=a,b", want: func(s *settings) { s.Names = []string{"a", "b"} }},
		"a bad pair":            {set: "mesh=a", err: "name=value"},
		"refused by Validate":   {set: "deep.size=-1", err: "must not be negative"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := settings{Ports: "0-0", Wait: time.Second}
			want := got
			sources := config.Sources{EnvPrefix: "T_", Environ: []string{tt.env}}
			if tt.file != "" {
				sources.File = filepath.Join(t.TempDir(), "c.yaml")
				if tt.file != "-" {
					write(t, sources.File, tt.file)
				}
			}
			if tt.set != "" {
				sources.Set = []string{tt.set}
			}
			err := config.Load(&got, sources)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("Load() = %v, want an error about %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tt.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("Load() differs (-want +got):\n%s", diff)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	defaults := settings{Ports: "0-0", Wait: time.Second, Mesh: map[string]string{"b": "2", "a": "1"}, Names: []string{"x", "y"}}
	want := []config.Setting{
		{Key: "app_ports", Default: "0-0"},
		{Key: "wait", Default: "1s"},
		{Key: "mesh", Default: "a=1,b=2"},
		{Key: "names", Default: "x,y", Help: "who"},
		{Key: "deep.size", Default: "0"},
		{Key: "deep.on", Default: "false"},
	}
	if diff := cmp.Diff(want, config.Describe(&defaults)); diff != "" {
		t.Fatalf("Describe() differs (-want +got):\n%s", diff)
	}
}

func TestEnvName(t *testing.T) {
	t.Parallel()
	if got := config.EnvName("AGENTCLOUD_REGISTRY_", "service.log_level"); got != "AGENTCLOUD_REGISTRY_SERVICE__LOG_LEVEL" {
		t.Fatalf("EnvName() = %q", got)
	}
}
