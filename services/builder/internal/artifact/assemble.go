package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// rules is a digest of everything but the bundle that decides what it is built
// into. A new interpreter or a new version of the recipe makes another.
func rules(p project) string {
	return digestOf(recipe.Version, engine.Version, engine.Platform(), p.plan.Python.Version, p.plan.Requirements, p.plan.Constraints, p.plan.Options, p.tools)
}

// artifactID names what environments and bundle make together.
func artifactID(b store.Bundle, environments map[string]string) string {
	return "art_" + digestOf(b.Digest, environments)
}

func digestOf(parts ...any) string {
	text, err := json.Marshal(parts)
	if err != nil {
		panic(err) // strings, lists and maps of them always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// assemble makes the answer. The manifest comes from the files each time: settings
// may hold a secret, which must not lie in the database, too.
func (s *Service) assemble(p project, build store.Build) (*builderv1.Artifact, error) {
	settings, secrets, err := p.manifest.JSON()
	if err != nil {
		return nil, err
	}
	commands, err := s.commands(p, build.Environments)
	if err != nil {
		return nil, err
	}
	name := p.plan.Program.Name
	if name == "" {
		name = p.manifest.AppName()
	}
	return &builderv1.Artifact{
		ArtifactId: build.ArtifactID, BundleId: p.bundle.ID, EnvironmentDigest: build.Environments[app],
		Language: builderv1.Language_LANGUAGE_PYTHON, Entry: p.plan.Program.Entry,
		AppPath:         s.deps.Disk.Bundle(p.bundle.OrgID, p.bundle.Digest),
		EnvironmentPath: s.deps.Disk.Environment(build.Environments[app]),
		Manifest: &builderv1.Manifest{
			SettingsJson: settings, SecretsJson: secrets, SecretHandles: p.manifest.Handles, EnvHandles: p.manifest.EnvHandles,
			UserParams: p.manifest.UserParams, AppName: name, DeclaresWorkflows: p.plan.Program.Workflows,
		},
		StdioCommands: commands,
	}, nil
}
