package cli

import (
	"context"
	"net/http"
	"os"
	"regexp"
	"strings"

	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// setVariables keeps the variables that --env names, as `mcp-agent cloud env add` does.
func (d deployment) setVariables(ctx context.Context, c *client, appID string) error {
	if len(d.variables) == 0 {
		return nil
	}
	prefix := "apps/" + appID + "/env/"
	var known secretsv1.ListSecretsResponse
	if err := c.call(ctx, http.MethodPost, "/secrets/list", &secretsv1.ListSecretsRequest{NameFilter: prefix}, &known); err != nil {
		return err
	}
	handles := map[string]string{}
	for _, secret := range known.GetSecrets() {
		handles[secret.GetName()] = secret.GetSecretId()
	}
	for _, variable := range d.variables {
		name, value, said := strings.Cut(variable, "=")
		if !said {
			value = os.Getenv(name)
		}
		if !variableName.MatchString(name) || value == "" {
			return usage("--env %s: write NAME=VALUE, or NAME of a variable that the shell has", name)
		}
		if err := c.setVariable(ctx, prefix+name, value, handles[prefix+name]); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) setVariable(ctx context.Context, name, value, handle string) error {
	if handle != "" {
		req := &secretsv1.SetSecretValueRequest{SecretId: handle, Value: value}
		return c.call(ctx, http.MethodPost, "/secrets/set_secret_value", req, &secretsv1.SetSecretValueResponse{})
	}
	req := &secretsv1.CreateSecretRequest{Name: name, Type: "dev", Value: value}
	return c.call(ctx, http.MethodPost, "/secrets/create_secret", req, &secretsv1.CreateSecretResponse{})
}
