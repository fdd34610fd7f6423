package lawtest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// CheckDependencies fails the test for each direct dependency of a module that the
// document does not explain under the module's heading, and for each explanation of
// what is no dependency any more.
func CheckDependencies(t *testing.T, root, document string, modules ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, document))
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range modules {
		direct, err := directDependencies(filepath.Join(root, module))
		if err != nil {
			t.Fatal(err)
		}
		for _, breach := range unexplained(string(text), module, direct) {
			t.Errorf("%s: %s", document, breach)
		}
	}
}

// directDependencies are the modules and tools that a go.mod asks for itself.
func directDependencies(dir string) ([]string, error) {
	out, err := exec.Command("go", "mod", "edit", "-json", filepath.Join(dir, "go.mod")).Output()
	if err != nil {
		return nil, fmt.Errorf("go mod edit -json %s/go.mod: %w", dir, err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Tool []struct{ Path string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		return nil, err
	}
	var direct []string
	for _, require := range mod.Require {
		if !require.Indirect && !strings.HasPrefix(require.Path, Module) {
			direct = append(direct, require.Path)
		}
	}
	for _, tool := range mod.Tool {
		direct = append(direct, tool.Path)
	}
	return direct, nil
}

var explanation = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.+) \\|$")

func unexplained(document, module string, direct []string) []string {
	_, section, found := strings.Cut(document, "\n## "+module+"\n")
	if !found {
		return []string{"there is no heading for " + module}
	}
	section, _, _ = strings.Cut(section, "\n## ")
	explained := map[string]bool{}
	for _, match := range explanation.FindAllStringSubmatch(section, -1) {
		explained[match[1]] = true
	}
	var breaches []string
	for _, dependency := range direct {
		if !explained[dependency] {
			breaches = append(breaches, fmt.Sprintf("%s needs %s: say why, as \"| `%s` | … |\"", module, dependency, dependency))
		}
		delete(explained, dependency)
	}
	for dependency := range explained {
		breaches = append(breaches, fmt.Sprintf("%s does not need %s any more: remove its line", module, dependency))
	}
	return breaches
}
