// Package sealing takes values out of uploaded settings that should never have been in
// the clear.
//
// The public command line dumps an app's effective settings into
// mcp_agent.deployed.config.yaml, and with them whatever the deployer's .env and shell
// held. What the project's own mcp_agent.config.yaml does not say becomes a secret
// handle in mcp_agent.deployed.secrets.yaml, where the agent finds the value again.
// The package is pure: who keeps a value is the caller's business.
package sealing

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
)

// The files of a project that have a part in it.
const (
	RawConfig       = "mcp_agent.config.yaml"
	DeployedConfig  = "mcp_agent.deployed.config.yaml"
	DeployedSecrets = "mcp_agent.deployed.secrets.yaml"
)

// Bounds of a settings file. Aliases are not followed.
const (
	maxDepth  = 64
	maxSealed = 200
)

// Files are the texts of the three; nil: it was not uploaded.
type Files struct{ Raw, Deployed, Secrets []byte }

// Keep stores a value under its dotted name and returns the handle that stands for it.
type Keep func(name, value string) (handle string, err error)

// Seal moves values from f.Deployed to f.Secrets. Without such a value nothing changes.
// Only settings that cannot be read are the deployer's fault (fault.Invalid).
func Seal(f Files, keep Keep) (Files, error) {
	deployed, err := parse(DeployedConfig, f.Deployed)
	if err != nil || deployed == nil {
		return f, err
	}
	secrets, err := parse(DeployedSecrets, f.Secrets)
	if err != nil {
		return f, err
	}
	if secrets == nil {
		secrets = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	secrets.Style = 0 // "{}" would make all of it one line
	s := &sealer{own: own(f.Raw), secrets: secrets, keep: keep}
	if err := s.mapping(deployed, nil); err != nil || s.sealed == 0 {
		return f, err
	}
	if f.Deployed, err = yaml.Marshal(deployed); err == nil {
		f.Secrets, err = yaml.Marshal(secrets)
	}
	return f, err
}

// parse returns the file's top mapping; nil when it has none.
func parse(name string, text []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fault.Invalid.Errorf("%s is no valid YAML: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, nil //nolint:nilnil // the builder says what is wrong with it
	}
	return doc.Content[0], nil
}

// own are the settings that the project says itself. One that cannot be read says nothing.
func own(raw []byte) any {
	var values any
	if yaml.Unmarshal(raw, &values) != nil {
		return nil
	}
	return values
}

type sealer struct {
	own     any
	secrets *yaml.Node
	keep    Keep
	sealed  int
}

// mapping seals what is below a node, and takes it out.
func (s *sealer) mapping(node *yaml.Node, path []string) error {
	if len(path) > maxDepth {
		return fault.Invalid.Errorf("%s is nested deeper than %d", DeployedConfig, maxDepth)
	}
	var kept []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		at := append(slices.Clone(path), key.Value)
		if value.Kind == yaml.MappingNode {
			if err := s.mapping(value, at); err != nil {
				return err
			}
		}
		if value.Kind == yaml.ScalarNode && value.ShortTag() == "!!str" && confidential(at, value.Value) && !s.says(at, value.Value) {
			if err := s.seal(at, value.Value); err != nil {
				return err
			}
			continue
		}
		kept = append(kept, key, value)
	}
	node.Content = kept
	return nil
}

func (s *sealer) seal(path []string, value string) error {
	if s.sealed++; s.sealed > maxSealed {
		return fault.TooLarge.Errorf("%s has more than %d values that %s does not say; write there what is no secret", DeployedConfig, maxSealed, RawConfig)
	}
	handle, err := s.keep(strings.Join(path, "."), value)
	if err != nil {
		return err
	}
	return put(s.secrets, path, handle)
}

// says tells whether the project itself has the value at that place.
func (s *sealer) says(path []string, value string) bool {
	at := s.own
	for _, key := range path {
		table, ok := at.(map[string]any)
		if !ok {
			return false
		}
		at = table[key]
	}
	return at != nil && fmt.Sprint(at) == value
}

// structure are sections that say how an app is built; secrets in them are below one of
// the guarded keys.
var (
	structure = []string{"$schema", "name", "description", "execution_engine", "mcp", "logger", "otel", "temporal", "usage_telemetry", "agents", "workflow_task_modules"}
	guarded   = []string{"env", "headers", "auth", "oauth"}
	harmless  = []string{"default_model", "reasoning_effort", "api_version", "model", "region", "location"}
)

// confidential says whether a value at a place may be a secret: it is, unless its
// place or its form shows that it is not.
func confidential(path []string, value string) bool {
	if value == "" || id.Secret.Valid(value) || slices.Contains(harmless, path[len(path)-1]) {
		return false
	}
	if slices.Contains(structure, path[0]) && !slices.ContainsFunc(path, func(key string) bool { return slices.Contains(guarded, key) }) {
		return false
	}
	u, err := url.Parse(value)
	plainURL := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.User == nil && u.RawQuery == ""
	return !plainURL
}

// put sets a place in the overlay, which wins over what was there.
func put(node *yaml.Node, path []string, handle string) error {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value != path[0] {
			continue
		}
		switch value := node.Content[i+1]; {
		case len(path) == 1:
			return nil // the overlay has a handle there, or a mark for each user's own
		case value.Kind == yaml.MappingNode:
			return put(value, path[1:], handle)
		}
		return fault.Invalid.Errorf("%s has no section at %s, and %s has; delete both files and deploy again", DeployedSecrets, path[0], DeployedConfig)
	}
	key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: path[0]}
	value := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: handle}
	if len(path) > 1 {
		value = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	node.Content = append(node.Content, key, value)
	if len(path) == 1 {
		return nil
	}
	return put(value, path[1:], handle)
}
