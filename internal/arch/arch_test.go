package arch_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/skep/skep"

// allowed says which packages of ours a package may import, by their paths below
// internal/. A path that ends in /... stands for all packages below it. What is
// not in the table may not import any of ours.
var allowed = map[string][]string{
	"apifilter":              {},
	"apiversion":             {},
	"arch":                   {},
	"certtest":               {},
	"discovery":              {},
	"discovery/backends":     {"discovery", "discovery/...", "kvstore/stores"},
	"discovery/file":         {"discovery"},
	"discovery/kv":           {"discovery", "kvstore"},
	"discovery/token":        {"discovery"},
	"discovery/nodes":        {"discovery"},
	"election":               {"kvstore"},
	"hub":                    {"discovery"},
	"kvstore":                {},
	"kvstore/...":            {"kvstore"},
	"kvstore/stores":         {"kvstore", "kvstore/..."},
	"lab":                    {},
	"lab/labtest":            {"lab"},
	"placement":              {},
	"rawjson":                {},
	"rawstream":              {},
	"version":                {},
	"engine":                 {"apiversion", "rawjson", "rawstream"},
	"enginetest":             {"apifilter", "apiversion", "cluster", "engine", "placement", "rawjson"},
	"cluster":                {"apifilter", "apiversion", "engine", "placement", "rawjson", "version"},
	"dockerapi":              {"apiversion", "engine", "rawstream"},
	"dockerapi/...":          {"apifilter", "apiversion", "cluster", "dockerapi", "engine", "version"},
	"ledger":                 {"cluster"},
	"metrics":                {},
	"replica":                {"apiversion", "rawstream"},
	"simengine":              {},
	"daemon":                 {"cluster", "discovery", "dockerapi", "dockerapi/...", "election", "engine", "kvstore", "kvstore/stores", "ledger", "metrics", "placement", "replica"},
	"cli":                    {"daemon", "discovery", "discovery/...", "hub", "lab", "placement", "version"},
	module + "/api/...":      {},
	module + "/cmd/skep":     {"cli"},
	module + "/demo/hello":   {},
	module + "/demo/engines": {"simengine"},
	module + "/test/...":     {"simengine"},
	module + "/bench/...":    {"simengine"},
}

// foreign are modules that skep is written instead of, or that belong to the
// inside of an engine.
var foreign = []string{
	"github.com/moby/swarmkit", "github.com/docker/swarm", "github.com/docker/docker", "github.com/moby/moby/v2", "github.com/docker/libkv",
}

// noNames says nothing about what lives there.
var noNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "shared"}

type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// short is a path below internal/, or the whole path elsewhere.
func short(importPath string) string {
	return strings.TrimPrefix(importPath, module+"/internal/")
}

func covers(rule, name string) bool {
	if prefix, ok := strings.CutSuffix(rule, "/..."); ok {
		return strings.HasPrefix(name, prefix+"/")
	}
	return rule == name
}

// rulesFor finds the row of a package; an exact one goes before a wide one.
func rulesFor(name string) ([]string, bool) {
	if rules, ok := allowed[name]; ok {
		return rules, true
	}
	for row, rules := range allowed {
		if covers(row, name) {
			return rules, true
		}
	}
	return nil, false
}

func TestImports_goDownTheStairsOnly(t *testing.T) {
	for _, p := range packages(t) {
		name := short(p.ImportPath)
		rules, ok := rulesFor(name)
		if !ok {
			t.Errorf("%s has no row in the table of internal/arch/arch_test.go: say there what it may import", name)
		}
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, module+"/") {
				continue
			}
			if !slices.ContainsFunc(rules, func(rule string) bool { return covers(rule, short(imported)) }) {
				t.Errorf("%s must not import %s: declare a small interface there and let internal/daemon hand it in, or change the table of internal/arch/arch_test.go if the picture has changed", name, short(imported))
			}
		}
	}
}

func TestImports_ofWhatSkepReplacesAreRefused(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			for _, f := range foreign {
				if imported == f || strings.HasPrefix(imported, f+"/") {
					t.Errorf("%s imports %s, which is no dependency of skep", p.ImportPath, imported)
				}
			}
		}
	}
}

func TestPackages_areNamedAfterWhatTheyHold(t *testing.T) {
	for _, p := range packages(t) {
		if slices.Contains(noNames, path.Base(p.ImportPath)) {
			t.Errorf("%s: name the package after what lives there", p.ImportPath)
		}
	}
}

func TestPackages_haveNoInit(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && file != root:
			return fs.SkipDir
		case !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") || strings.HasSuffix(file, ".pb.go"):
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function: let a constructor do it", file)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
