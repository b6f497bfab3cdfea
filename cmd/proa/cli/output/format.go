// SPDX-License-Identifier: Apache-2.0

package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// List is how rows are shown. A row is a pointer to a struct with one string
// field per placeholder of --format.
type List struct {
	// Header is a row whose fields are the titles of the columns.
	Header any
	// Columns are the fields of the default table.
	Columns []string
	// Format is the user's: empty or "table", "table TEMPLATE", "json", or a
	// template for each row.
	Format string
	// Quiet prints only this field of each row, where it is not empty.
	Quiet     string
	NoHeading bool
}

// List prints rows.
func (p *Printer) List(l List, rows []any) error {
	format := strings.TrimSpace(l.Format)
	switch {
	case l.Quiet != "" && (format == "" || format == "table"):
		for _, r := range rows {
			p.Println(field(r, l.Quiet))
		}
		return nil
	case format == "" || format == "table":
		return p.columns(l, rows)
	case format == "json":
		format = "{{json .}}"
	}
	format, table := strings.CutPrefix(format, "table ")
	t, err := parseTemplate(format, "")
	if err != nil {
		return err
	}
	if !table {
		return executeAll(p, t, rows)
	}
	if !l.NoHeading {
		rows = append([]any{l.Header}, rows...)
	}
	tw := newTable(p)
	if err := executeAll(tw, t, rows); err != nil {
		return err
	}
	return tw.Flush()
}

// Fields are the placeholders of a row with the titles of their columns.
func Fields(header any) []spec.Option {
	v := reflect.ValueOf(header).Elem()
	var list []spec.Option
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			list = append(list, spec.Option{Name: f.Name, About: v.Field(i).String()})
		}
	}
	return list
}

// newTable aligns columns as Docker does.
func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 10, 1, 3, ' ', 0) }

func (p *Printer) columns(l List, rows []any) error {
	tw := newTable(p)
	if !l.NoHeading {
		rows = append([]any{l.Header}, rows...)
	}
	// The fields are looked up once: by name for each cell, a thousand rows
	// took two milliseconds more.
	t := reflect.TypeOf(l.Header).Elem()
	index := make([]int, len(l.Columns))
	for i, c := range l.Columns {
		f, _ := t.FieldByName(c)
		index[i] = f.Index[0]
	}
	var line []byte
	for _, r := range rows {
		v := reflect.ValueOf(r).Elem()
		line = line[:0]
		for i, n := range index {
			if i > 0 {
				line = append(line, '\t')
			}
			line = append(line, v.Field(n).String()...)
		}
		if _, err := tw.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// Table prints titles and rows of text.
func (p *Printer) Table(titles []string, rows [][]string) error {
	tw := newTable(p)
	if len(titles) > 0 {
		fmt.Fprintln(tw, strings.Join(titles, "\t"))
	}
	for _, r := range rows {
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	return tw.Flush()
}

func field(row any, name string) string {
	return reflect.ValueOf(row).Elem().FieldByName(name).String()
}

func executeAll(w io.Writer, t *template.Template, rows []any) error {
	for _, r := range rows {
		var b bytes.Buffer
		if err := t.Execute(&b, r); err != nil {
			return templateError(err)
		}
		b.WriteByte('\n')
		if _, err := w.Write(b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// Template prints value by a template of --format.
func (p *Printer) Template(format string, value any) error {
	if strings.TrimSpace(format) == "json" {
		format = "{{json .}}"
	}
	s, err := render(format, value)
	if err != nil {
		return err
	}
	p.Println(s)
	return nil
}

// render executes the template on the value, and where that fails on its JSON
// form, in which the names are those that the API documents: {{.Id}}.
func render(format string, value any) (string, error) {
	t, err := parseTemplate(format, "missingkey=error")
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	typedErr := t.Execute(&b, value)
	if typedErr == nil {
		return b.String(), nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var raw any
	if err := dec.Decode(&raw); err != nil {
		return "", err
	}
	b.Reset()
	if err := t.Execute(&b, raw); err != nil {
		return "", templateError(err)
	}
	return b.String(), nil
}

func templateError(err error) error {
	return &errs.Error{Kind: errs.Invalid, Err: fmt.Errorf("template parsing error: %w", err),
		Hint: "--format '{{json .}}' shows every name that there is"}
}

func parseTemplate(format, option string) (*template.Template, error) {
	format = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format)
	t := template.New("").Funcs(functions())
	if option != "" {
		t = t.Option(option)
	}
	t, err := t.Parse(format)
	if err != nil {
		return nil, templateError(err)
	}
	return t, nil
}

// functions are those that Docker's templates have beyond Go's own.
func functions() template.FuncMap {
	return template.FuncMap{
		"json":  func(v any) (string, error) { return JSON(v, "") },
		"split": strings.Split,
		"join":  join,
		"title": func(s string) string {
			if s == "" {
				return s
			}
			return strings.ToUpper(s[:1]) + s[1:]
		},
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
		"pad": func(s string, before, after int) string {
			if s == "" {
				return s
			}
			return strings.Repeat(" ", max(before, 0)) + s + strings.Repeat(" ", max(after, 0))
		},
		"truncate": func(s string, n int) string {
			if n < 0 || len(s) <= n {
				return s
			}
			return s[:n]
		},
	}
}

// TemplateFunctions are the names of these functions.
func TemplateFunctions() []string { return slices.Sorted(maps.Keys(functions())) }

// join takes []string and, in the JSON form of a value, []any.
func join(list any, sep string) (string, error) {
	switch l := list.(type) {
	case []string:
		return strings.Join(l, sep), nil
	case []any:
		parts := make([]string, len(l))
		for i, v := range l {
			parts[i] = fmt.Sprint(v)
		}
		return strings.Join(parts, sep), nil
	case nil:
		return "", nil
	}
	return "", fmt.Errorf("join needs a list, not %T", list)
}

// JSON encodes v without escaping <, > and &.
func JSON(v any, indent string) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// Document prints one value as JSON.
func (p *Printer) Document(value any) error {
	s, err := JSON(value, "    ")
	if err != nil {
		return err
	}
	p.Println(s)
	return nil
}

// Documents prints the array that inspect prints.
func (p *Printer) Documents(values []any) error {
	if len(values) == 0 {
		p.Println("[]")
		return nil
	}
	return p.Document(values)
}
