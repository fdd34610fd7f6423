package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestVault keeps the secrets of a cloud in a real Vault server.
func TestVault(t *testing.T) {
	tools := findTools(t)
	binary := filepath.Join(tools.bin, "vaultd")
	if _, err := os.Stat(binary); err != nil {
		t.Skip("there is no Vault server here; `make test-vault` builds one")
	}
	address, token := startVault(t, binary)
	cloud := startCloud(t, tools, "--vault", address, "--vault-token-file", token)
	cloud.all = true
	t.Run("scripts", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Files: []string{"testdata/cli/environment.txtar", "testdata/cli/configure.txtar"},
			Setup: cloud.setup, Cmds: commands(), Condition: cloud.condition, RequireExplicitExec: true,
		})
	})
	cloud.stop(t)
	cloud.searchSecrets(t)
}

// startVault returns where the server is and a file with its root token.
func startVault(t *testing.T, binary string) (address, tokenFile string) {
	t.Helper()
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready.json")
	cmd := exec.Command(binary, "-listen", "127.0.0.1:0", "-ready-file", ready)
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	var note map[string]any
	eventually(t, 30*time.Second, func() error {
		raw, err := os.ReadFile(ready)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &note)
	})
	tokenFile = filepath.Join(dir, "token")
	token, _ := note["root_token"].(string)
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	address, _ = note["address"].(string)
	mountKV(t, address, token)
	return address, tokenFile
}

// mountKV is the operator's part: see docs/secrets.md.
func mountKV(t *testing.T, address, token string) {
	t.Helper()
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken(token)
	if err := client.SetAddress(address); err != nil {
		t.Fatal(err)
	}
	if err := client.Sys().MountWithContext(t.Context(), "secret", &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}); err != nil {
		t.Fatal(err)
	}
}
