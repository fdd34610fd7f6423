package secrets

import (
	"strings"
	"unicode/utf8"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/store"
)

const (
	typeDeployer = "dev"
	typeUser     = "usr"

	maxName  = 512
	maxValue = 64 << 10
)

func checkNew(req *secretsv1.CreateSecretRequest) error {
	name := req.GetName()
	if strings.TrimSpace(name) == "" || len(name) > maxName || strings.ContainsRune(name, 0) {
		return fault.Invalid.Errorf("a secret needs a name of 1 to %d characters", maxName)
	}
	if req.GetType() != typeDeployer && req.GetType() != typeUser {
		return fault.Invalid.Errorf("the type of a secret is %q or %q", typeDeployer, typeUser)
	}
	return checkValue(req.GetValue())
}

func checkValue(value string) error {
	switch {
	case value == "":
		return fault.Invalid.Errorf("a secret needs a value")
	case len(value) > maxValue:
		return fault.TooLarge.Errorf("a secret may have at most %d KiB", maxValue>>10)
	case !utf8.ValidString(value):
		return fault.Invalid.Errorf("a secret must be UTF-8 text; encode binary data, for example with base64")
	}
	return nil
}

// mayManage says whether the caller may read and change the secret: its creator
// always, an administrator unless it is a user's own.
func mayManage(caller principal.Principal, record store.Record) bool {
	return record.CreatorID == caller.UserID || caller.Admin && record.Type == typeDeployer
}

// mayUse says whether the caller may give the secret to an agent. The rooms themselves
// speak for nobody; whoever named the handle to them was asked then.
func mayUse(caller principal.Principal, record store.Record) bool {
	return caller.Kind == principal.Service || record.Type != typeUser || record.CreatorID == caller.UserID
}

// resolver is the room that starts agents.
const resolver = "scheduler"

func mayResolve(caller principal.Principal, orgID string) bool {
	return caller.Kind == principal.Service && caller.Name == resolver && orgID != "" && caller.OrgID == orgID
}

// path is where the vault keeps the value: by organisation, so that a policy or
// an export can be cut along that line.
func path(record store.Record) string { return record.OrgID + "/" + record.ID }

func toProto(record store.Record) *secretsv1.Secret {
	return &secretsv1.Secret{SecretId: record.ID, Name: record.Name, Type: record.Type}
}

const tokenSeparator = "\x00"

func after(token string, filter *store.Filter) error {
	if token == "" {
		return nil
	}
	text, err := page.Decode(token)
	if err != nil {
		return err
	}
	name, secretID, ok := strings.Cut(text, tokenSeparator)
	if !ok {
		return fault.Invalid.Errorf("the page token is damaged; start again without it")
	}
	filter.AfterName, filter.AfterID = name, secretID
	return nil
}

// listPage keeps what the caller may manage; records has one more than a page when
// there is a further one.
func listPage(caller principal.Principal, records []store.Record, size int) (*secretsv1.ListSecretsResponse, error) {
	res := &secretsv1.ListSecretsResponse{}
	if len(records) > size {
		records = records[:size]
		last := records[size-1]
		res.NextPageToken = page.Encode(last.Name + tokenSeparator + last.ID)
	}
	for _, record := range records {
		if mayManage(caller, record) {
			res.Secrets = append(res.Secrets, toProto(record))
		}
	}
	return res, nil
}

func zip(keys, values []string) map[string]string {
	m := make(map[string]string, len(keys))
	for i, key := range keys {
		m[key] = values[i]
	}
	return m
}
