package recipe

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
)

// maxText bounds a file that is read whole: lock files of large projects have a few MiB.
const maxText = 16 << 20

func exists(files fs.FS, name string) bool {
	info, err := fs.Stat(files, name)
	return err == nil && info.Mode().IsRegular()
}

// readText returns a file as text, with plain newlines and no byte-order mark.
func readText(files fs.FS, name string) (string, error) {
	file, err := files.Open(name)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", name, err)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxText+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	text := string(content)
	switch {
	case len(content) > maxText:
		return "", problemf("%s has more than %d MiB; that is no source file", name, maxText>>20)
	case strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff"):
		return "", problemf("%s is UTF-16, as PowerShell's > writes it; save it as UTF-8", name)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return "", problemf("%s is not UTF-8 text; save it as UTF-8", name)
	}
	text = strings.TrimPrefix(text, "\ufeff")
	return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), nil
}

// checkFiles refuses what must not be in a bundle at all.
func checkFiles(files fs.FS, kind projectfile.Kind) error {
	if exists(files, "mcp_agent.secrets.yaml") {
		return problemf("mcp_agent.secrets.yaml holds secret values and must not be uploaded; deploy with the mcp-agent command line, which sends handles in mcp_agent.deployed.secrets.yaml instead")
	}
	if python := kind == "" || kind == projectfile.MCPAgent || kind == projectfile.FastMCP; python && !exists(files, entry) {
		return problemf("the project has no main.py in its top folder; add one with a line `app = MCPApp(name=\"…\")`, or deploy from the folder that has it; what is no Python app has a package.json, or says `command:` in agentcloud.yaml")
	}
	return nil
}
