package apps

import (
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
)

const (
	// maxVariables bounds what an agent gets beside its files.
	maxVariables = 200
	// variablesWait is how long the broker's absence is waited out.
	variablesWait = 30 * time.Second
	// deployerSecret is the type of secrets that are the deployer's.
	deployerSecret = "dev"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// variables are what `mcp-agent cloud env add` has set for an app: environment variable
// to secret handle. It asks as the caller, who may deploy the app: what somebody else
// has named like the app's is none of it.
func (s *Service) variables(ctx context.Context, appID string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, variablesWait)
	defer cancel()
	found, prefix := map[string]string{}, "apps/"+appID+"/env/"
	for req := (&secretsv1.ListSecretsRequest{NameFilter: prefix}); ; {
		page, err := s.deps.Secrets.ListSecrets(ctx, req)
		if fault.Deadline.Is(err) {
			return nil, fault.Unavailable.Wrap(err, "the app's variables cannot be read: the secret store is away; deploy again when it is up")
		}
		if err != nil {
			return nil, err
		}
		for _, secret := range page.GetSecrets() {
			name, ok := strings.CutPrefix(secret.GetName(), prefix)
			if ok && secret.GetType() == deployerSecret && variableName.MatchString(name) {
				found[name] = secret.GetSecretId()
			}
		}
		if len(found) > maxVariables {
			return nil, fault.TooLarge.Errorf("the app has more than %d variables; remove some with `mcp-agent cloud env remove`", maxVariables)
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return found, nil
		}
	}
}
