// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/pkg/build"
)

// columns is a table as buildx prints it: the least room between two columns.
func columns(rows ...[]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	for _, r := range rows {
		for i := range r {
			r[i] = output.Legible(r[i])
		}
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	_ = w.Flush() // to memory
	return b.String()
}

// Targets lists the stages that --target can name.
func Targets(r *build.Result) string {
	rows := [][]string{{"TARGET", "DESCRIPTION"}}
	for _, t := range r.Targets {
		name := t.Name
		switch {
		case t.Default && name == "":
			name = "(default)"
		case t.Default:
			name += " (default)"
		case name == "":
			name = strconv.Itoa(t.Index)
		}
		rows = append(rows, []string{name, t.Description})
	}
	return columns(rows...)
}

// Outline lists the arguments, secrets and agents of the target.
func Outline(r *build.Result) string {
	o := r.Outline
	var parts []string
	if o.Name != "" || o.Description != "" {
		name := o.Name
		if name == "" {
			name = "(default)"
		}
		rows := [][]string{{"TARGET:", name}}
		if o.Description != "" {
			rows = append(rows, []string{"DESCRIPTION:", o.Description})
		}
		parts = append(parts, columns(rows...))
	}
	if len(o.Args) > 0 {
		rows := [][]string{{"BUILD ARG", "VALUE", "DESCRIPTION"}}
		for _, a := range o.Args {
			rows = append(rows, []string{a.Name, a.Value, a.Description})
		}
		parts = append(parts, columns(rows...))
	}
	for _, list := range []struct {
		title string
		needs []build.OutlineNeed
	}{{"SECRET", o.Secrets}, {"SSH", o.SSH}} {
		rows := [][]string{{list.title, "REQUIRED"}}
		for _, n := range list.needs {
			required := ""
			if n.Required {
				required = "true"
			}
			rows = append(rows, []string{n.Name, required})
		}
		if len(rows) > 1 {
			parts = append(parts, columns(rows...))
		}
	}
	return strings.Join(parts, "\n")
}

// LintSummary is the last line of a check.
func LintSummary(r *build.Result) string {
	switch n := len(r.Warnings); n {
	case 0:
		return "Check complete, no warnings found.\n"
	case 1:
		return "Check complete, 1 warning found.\n"
	default:
		return fmt.Sprintf("Check complete, %d warnings found.\n", n)
	}
}

type lintWarning struct {
	Rule     string        `json:"ruleName,omitempty"`
	URL      string        `json:"url,omitempty"`
	Detail   string        `json:"detail"`
	Location *lintLocation `json:"location,omitempty"`
}

type lintLocation struct {
	Ranges []lintRange `json:"ranges"`
}

type lintRange struct {
	Start struct {
		Line int `json:"line"`
	} `json:"start"`
}

// Lint is the document of a check, in BuildKit's form.
func Lint(r *build.Result) any {
	list := []lintWarning{}
	for _, w := range r.Warnings {
		l := lintWarning{Rule: w.Rule, URL: w.URL, Detail: w.Message}
		if w.Line > 0 {
			l.Location = &lintLocation{Ranges: make([]lintRange, 1)}
			l.Location.Ranges[0].Start.Line = w.Line
		}
		list = append(list, l)
	}
	return map[string]any{"warnings": list}
}
