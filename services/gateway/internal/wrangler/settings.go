package wrangler

import (
	"bytes"
	"context"
	"io"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sealing"
)

// settingsBytes bounds one file of settings, as the builder does.
const settingsBytes = 1 << 20

// settings are the files that may hold values in the clear, by path.
type settings map[string][]byte

func (s settings) wants(path string) bool {
	return path == sealing.RawConfig || path == sealing.DeployedConfig || path == sealing.DeployedSecrets
}

// hold keeps a file of settings for the end of the upload.
func (u *upload) hold(path string, part io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(part, settingsBytes+1))
	switch {
	case err != nil:
		return fault.Invalid.Wrap(err, "the upload ended early or is damaged")
	case len(text) > settingsBytes:
		return fault.TooLarge.Errorf("%s has more than 1 MiB; settings must be smaller", path)
	}
	u.settings[path] = text
	return nil
}

// sendSettings seals what must not be in the clear, and sends the files on.
func (u *upload) sendSettings() error {
	sealed, err := sealing.Seal(sealing.Files{
		Raw: u.settings[sealing.RawConfig], Deployed: u.settings[sealing.DeployedConfig], Secrets: u.settings[sealing.DeployedSecrets],
	}, u.vault.keep)
	if err != nil {
		return err
	}
	for _, file := range []struct {
		path string
		text []byte
	}{
		{sealing.RawConfig, sealed.Raw}, {sealing.DeployedConfig, sealed.Deployed}, {sealing.DeployedSecrets, sealed.Secrets},
	} {
		if file.text == nil {
			continue
		}
		if _, uploaded := u.settings[file.path]; !uploaded {
			u.files++ // an overlay that the project had no need of
		}
		if err := u.begin(file.path); err != nil {
			return err
		}
		if err := u.copyBytes(bytes.NewReader(file.text), make([]byte, chunkBytes)); err != nil {
			return err
		}
	}
	return nil
}

// vault keeps values of one app, under names that stay the same from upload to upload,
// so that the same files make the same bundle.
type vault struct {
	ctx     context.Context //nolint:containedctx // of the upload, which is one call
	secrets secretsv1.SecretsServiceClient
	app     string
	// known is name to handles, of several deployers perhaps; nil: not asked yet.
	known map[string][]string
}

// keep stores a value under its place in the settings.
func (v *vault) keep(place, value string) (handle string, err error) {
	if v.known == nil {
		if err := v.list(); err != nil {
			return "", err
		}
	}
	name := v.prefix() + place
	for _, handle := range v.known[name] {
		_, err := v.secrets.SetSecretValue(v.ctx, &secretsv1.SetSecretValueRequest{SecretId: handle, Value: value})
		if !fault.NotFound.Is(err) && !fault.Denied.Is(err) {
			return handle, err
		}
		// It is gone, or another deployer's.
	}
	created, err := v.secrets.CreateSecret(v.ctx, &secretsv1.CreateSecretRequest{Name: name, Type: "dev", Value: value})
	return created.GetSecret().GetSecretId(), err
}

func (v *vault) prefix() string { return "apps/" + v.app + "/config/" }

// listPages bounds how many of an app's secrets are looked through.
const listPages = 20

func (v *vault) list() error {
	v.known = map[string][]string{}
	req := &secretsv1.ListSecretsRequest{NameFilter: v.prefix()}
	for range listPages {
		page, err := v.secrets.ListSecrets(v.ctx, req)
		if err != nil {
			return err
		}
		for _, s := range page.GetSecrets() {
			v.known[s.GetName()] = append(v.known[s.GetName()], s.GetSecretId())
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return nil
		}
	}
	return nil
}
