// Package lawtest checks a source tree against the laws of this project: who may
// import whom, and that each direct dependency is explained.
//
// It reads sources as text; what the compiler guards by itself (internal packages,
// import cycles) it leaves to the compiler.
package lawtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Module is the path that all modules of the tree begin with.
const Module = "github.com/mcpagentcloud/agentcloud/"

// Check fails the test for each breach in the tree at root.
func Check(t *testing.T, root string) {
	t.Helper()
	files, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("there are no Go files in %s", root)
	}
	for _, breach := range breaches(files) {
		t.Error(breach)
	}
}

// file is what the laws look at.
type file struct {
	// path and dir are relative to the tree, with slashes.
	path, dir string
	test      bool
	imports   []string
	// used are the names that the file uses of each import, by import path.
	used map[string][]string
	// declared are the types and values of a file of contracts.
	declared []string
}

// apart are modules of their own, with laws of their own.
var apart = []string{"services/temporald", "services/vaultd", "deploy"}

func read(root string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if entry.IsDir() {
			if hidden := strings.HasPrefix(entry.Name(), ".") && rel != "."; hidden || entry.Name() == "testdata" || slices.Contains(apart, rel) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		f, err := readFile(name, rel)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

func readFile(name, rel string) (file, error) {
	f := file{path: rel, dir: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), used: map[string][]string{}}
	raw, err := os.ReadFile(name)
	if err != nil {
		return f, err
	}
	tree, err := parser.ParseFile(token.NewFileSet(), rel, raw, parser.SkipObjectResolution)
	if err != nil {
		return f, fmt.Errorf("parse: %w", err)
	}
	names := map[string]string{}
	for _, spec := range tree.Imports {
		to, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return f, err
		}
		f.imports = append(f.imports, to)
		names[localName(spec, to)] = to
	}
	ast.Inspect(tree, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok {
			if of, ok := selector.X.(*ast.Ident); ok && names[of.Name] != "" {
				f.used[names[of.Name]] = append(f.used[names[of.Name]], selector.Sel.Name)
			}
		}
		return true
	})
	if strings.HasPrefix(rel, "proto/") {
		f.declared = declarations(tree)
	}
	return f, nil
}

func localName(spec *ast.ImportSpec, to string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	return path.Base(to)
}

func declarations(tree *ast.File) []string {
	var names []string
	for _, decl := range tree.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range group.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, spec.Name.Name)
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}
