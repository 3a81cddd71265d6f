package arch_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The guide for those who come from standalone Swarm promises, in a table, what
// no longer goes wrong. Each promise names the tests that keep it.
const (
	guide        = "docs/migrating-from-swarm.md"
	promises     = "## What no longer goes wrong"
	leastPromise = 50
)

// readPromises gives the names of tests by the first cell of their row.
func readPromises(text string) (map[string][]string, error) {
	_, table, ok := strings.Cut(text, promises+"\n")
	if !ok {
		return nil, fmt.Errorf("there is no heading %q", promises)
	}
	table, _, _ = strings.Cut(table, "\n## ")
	rows := map[string][]string{}
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| in Swarm |") || strings.HasPrefix(line, "| **") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 3 {
			return nil, fmt.Errorf("%d cells in %q, want fault, answer and tests", len(cells), line)
		}
		fault := strings.TrimSpace(cells[0])
		if _, twice := rows[fault]; twice {
			return nil, fmt.Errorf("two rows say %q", fault)
		}
		for i, part := range strings.Split(cells[2], "`") {
			if i%2 == 1 { // between two backticks
				rows[fault] = append(rows[fault], part)
			} else if strings.Trim(part, ", ") != "" {
				return nil, fmt.Errorf("%q is no test, in the row of %q", part, fault)
			}
		}
		if len(rows[fault]) == 0 {
			return nil, fmt.Errorf("no test is named for %q", fault)
		}
	}
	return rows, nil
}

// findTest looks for PACKAGE/TestName or PACKAGE/TestName/subtest. A subtest is
// found by its name as the test's source has it.
func findTest(root, name string) error {
	dir, test, ok := strings.Cut(name, "/Test")
	if !ok {
		return errors.New("write it as PACKAGE/TestName")
	}
	if !strings.HasPrefix(dir, "test/") {
		dir = "internal/" + dir
	}
	test, subtest, _ := strings.Cut("Test"+test, "/")
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no tests", dir)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			switch {
			case !ok || f.Recv != nil || f.Name.Name != test:
			case subtest != "" && !says(f, subtest):
				return fmt.Errorf("%s has no subtest %q", test, subtest)
			default:
				return nil
			}
		}
	}
	return fmt.Errorf("%s has no %s", dir, test)
}

// says tells whether text is a string in the function.
func says(f *ast.FuncDecl, text string) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			s, err := strconv.Unquote(literal.Value)
			found = found || err == nil && s == text
		}
		return !found
	})
	return found
}

func TestMigrationGuide_namesTestsThatExist(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, guide))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := readPromises(string(text))
	if err != nil {
		t.Fatalf("%s: %v", guide, err)
	}
	if len(rows) < leastPromise {
		t.Errorf("%s makes %d promises, and made %d", guide, len(rows), leastPromise)
	}
	for fault, tests := range rows {
		for _, name := range tests {
			if err := findTest(root, name); err != nil {
				t.Errorf("%s says of %q that %s shows it: %v", guide, fault, name, err)
			}
		}
	}
}

func TestMigrationGuide_isRefusedWhereItPromisesTooMuch(t *testing.T) {
	head := promises + "\n\n| in Swarm | in skep | test |\n|---|---|---|\n"
	for name, text := range map[string]string{
		"no table":         "## Else\n",
		"no test":          head + "| a | b | |\n",
		"a test as a word": head + "| a | b | cli/TestX |\n",
		"a cell too many":  head + "| a | b | c | `cli/TestX` |\n",
		"a row twice":      head + "| a | b | `cli/TestX` |\n| a | b | `cli/TestX` |\n",
	} {
		if rows, err := readPromises(text); err == nil {
			t.Errorf("%s: read as %v", name, rows)
		}
	}
	const here = "arch/TestMigrationGuide_isRefusedWhereItPromisesTooMuch"
	for _, name := range []string{
		"arch/TestOfNobody", "nowhere/TestX", "arch/FuzzX", here + "/a subtest of " + "nobody", "test/nowhere/TestX", "",
	} {
		if findTest(filepath.Join("..", ".."), name) == nil {
			t.Errorf("%q was found", name)
		}
	}
	for _, name := range []string{here, here + "/a row twice"} {
		if err := findTest(filepath.Join("..", ".."), name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
