package bundle_test

import (
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/bundle"
)

var small = bundle.Limits{Files: 3, FileBytes: 10, Bytes: 20, Depth: 3, PathBytes: 40, NameBytes: 20}

func TestCheckPath(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		path string
		want fault.Kind // 0: taken
	}{
		"a file":                {"main.py", 0},
		"a file in folders":     {"a/b/c.py", 0},
		"spaces and accents":    {"Bücher/le été.txt", 0},
		"a hidden file":         {".env.example", 0},
		"no name":               {"", fault.Invalid},
		"absolute":              {"/etc/passwd", fault.Invalid},
		"up":                    {"../x", fault.Invalid},
		"up in the middle":      {"a/../../x", fault.Invalid},
		"up at the end":         {"a/..", fault.Invalid},
		"the folder itself":     {".", fault.Invalid},
		"two slashes":           {"a//b", fault.Invalid},
		"a slash at the end":    {"a/", fault.Invalid},
		"a dot part":            {"./a", fault.Invalid},
		"NUL":                   {"a\x00b", fault.Invalid},
		"a line's end":          {"a\nb", fault.Invalid},
		"a backslash":           {`a\b`, fault.Invalid},
		"no UTF-8":              {"a\xffb", fault.Invalid},
		"too deep":              {"a/b/c/d", fault.TooLarge},
		"a name too long":       {strings.Repeat("n", 21), fault.TooLarge},
		"all of it is too long": {strings.Repeat("n", 20) + "/" + strings.Repeat("n", 20), fault.TooLarge},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := bundle.CheckPath(test.path, small)
			if test.want == 0 && err != nil || test.want != 0 && !test.want.Is(err) {
				t.Errorf("CheckPath(%q) = %v", test.path, err)
			}
		})
	}
}

// What may be a file must not leave the folder, whatever it is called.
func FuzzCheckPath(f *testing.F) {
	for _, seed := range []string{"a/b", "..", "a/./b", "\u2025/x", "a\u0000"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if bundle.CheckPath(name, bundle.DefaultLimits()) != nil {
			return
		}
		if strings.HasPrefix(name, "/") || strings.ContainsAny(name, "\\\x00\n") {
			t.Errorf("%q is taken", name)
		}
		for _, part := range strings.Split(name, "/") {
			if part == "" || part == "." || part == ".." {
				t.Errorf("%q is taken", name)
			}
		}
	})
}

func TestPathsThatMeet(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		paths []string
		says  string // empty: taken
	}{
		"apart":                   {[]string{"a/b", "a/c", "b"}, ""},
		"twice":                   {[]string{"a", "a"}, "twice"},
		"but for case":            {[]string{"Main.py", "main.py"}, "cannot tell apart"},
		"but for Unicode's forms": {[]string{"caf\u00e9", "cafe\u0301"}, "cannot tell apart"},
		"folders but for case":    {[]string{"A/x", "a/y"}, "cannot tell apart"},
		"a file, then a folder":   {[]string{"a", "a/b"}, "as a file and"},
		"a folder, then a file":   {[]string{"a/b", "a"}, "as a file and"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := bundle.NewStaging(t.TempDir(), bundle.DefaultLimits())
			var err error
			for _, path := range test.paths {
				if err == nil {
					err = s.Begin(path)
				}
			}
			if test.says == "" && err != nil || test.says != "" && (!fault.Invalid.Is(err) || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("Begin() = %v, want %q", err, test.says)
			}
		})
	}
}
