package services_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/config"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/services/builder"
	"github.com/mcpagentcloud/agentcloud/services/gateway"
	"github.com/mcpagentcloud/agentcloud/services/registry"
	"github.com/mcpagentcloud/agentcloud/services/scheduler"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker"
	"github.com/mcpagentcloud/agentcloud/services/telemetry"
)

var update = flag.Bool("update", false, "write the tables of docs/configuration.md")

// settings are the tables of docs/configuration.md by the name of their place there.
func settings() map[string]any {
	return map[string]any{
		"service": service.DefaultSettings(), "gateway": gateway.Defaults(), "registry": registry.Defaults(),
		"scheduler": scheduler.Defaults(), "builder": builder.Defaults(), "secretsbroker": secretsbroker.Defaults(), "telemetry": telemetry.Defaults(),
	}
}

func TestEverySettingSaysWhatItIs(t *testing.T) {
	t.Parallel()
	for name, defaults := range settings() {
		for _, s := range config.Describe(defaults) {
			if s.Help == "" {
				t.Errorf("%s: the setting %s has no `help` tag", name, s.Key)
			}
		}
	}
}

// TestConfigurationPage keeps the reference of all settings true.
func TestConfigurationPage(t *testing.T) {
	t.Parallel()
	page := filepath.Join(root, "docs", "configuration.md")
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := string(raw)
	for name, defaults := range settings() {
		if want, err = replace(want, name, table(defaults)); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil { //nolint:gosec // a page for all
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(raw)); diff != "" {
		t.Errorf("docs/configuration.md is outdated; write it anew with `go test ./services -run ConfigurationPage -update` (-want +got):\n%s", diff)
	}
}

// replace puts text between the marks of a name.
func replace(page, name, text string) (string, error) {
	begin, end := "<!-- settings of "+name+" -->\n", "<!-- end -->"
	before, rest, ok := strings.Cut(page, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", fmt.Errorf("docs/configuration.md has no place for the settings of %s: write %q and %q", name, begin, end)
	}
	return before + begin + text + end + after, nil
}

func table(defaults any) string {
	var b strings.Builder
	b.WriteString("| setting | default | meaning |\n|---|---|---|\n")
	for _, s := range config.Describe(defaults) {
		_, _ = fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Key, code(s.Default), strings.ReplaceAll(s.Help, "|", `\|`))
	}
	return b.String()
}

// code breaks long lists, so that a column can be narrow.
func code(value string) string {
	if value == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(value, ",", "`, `") + "`"
}
