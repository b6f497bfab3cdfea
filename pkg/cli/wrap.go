// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"unicode/utf8"
)

// The layout of help. No line is wider than the terminal, as far as words allow.

// wrapWords breaks text at blanks into lines of at most width characters.
func wrapWords(text string, width int) []string {
	var lines []string
	line, n := "", 0
	for _, w := range strings.Fields(text) {
		size := utf8.RuneCountInString(w)
		if line != "" && n+1+size > width {
			lines = append(lines, line)
			line, n = "", 0
		}
		if line != "" {
			line += " "
			n++
		}
		line += w
		n += size
	}
	return append(lines, line)
}

// hang wraps text with the first line at its place and the others indented.
func hang(text string, indent, width int) string {
	return strings.Join(wrapWords(text, width-indent), "\n"+strings.Repeat(" ", indent))
}

// wrapParagraphs wraps paragraphs, which empty lines separate. A line that begins with
// blanks stays by itself.
func wrapParagraphs(text string, width int) string {
	var out, para []string
	flush := func() {
		if len(para) > 0 {
			out = append(out, wrapWords(strings.Join(para, " "), width)...)
			para = nil
		}
	}
	for _, line := range strings.Split(text, "\n") {
		rest := strings.TrimLeft(line, " ")
		indent := len(line) - len(rest)
		switch {
		case rest == "":
			flush()
			out = append(out, "")
		case indent == 0:
			para = append(para, line)
		case utf8.RuneCountInString(line) <= width:
			flush()
			out = append(out, line)
		default:
			flush()
			out = append(out, line[:indent]+hang(rest, indent+2, width))
		}
	}
	flush()
	return strings.Join(out, "\n")
}

// twoColumns puts heads on the left and texts on the right. A head that is too long for
// its column has a line of its own.
func twoColumns(rows [][2]string, gap, width int) string {
	column := 0
	for _, r := range rows {
		if n := utf8.RuneCountInString(r[0]); n <= 2*width/5 {
			column = max(column, n)
		}
	}
	column += gap
	if width-column < 30 { // a narrow terminal: texts below the heads
		column = 8
	}
	var b strings.Builder
	for _, r := range rows {
		n := utf8.RuneCountInString(r[0])
		b.WriteString(r[0])
		switch {
		case r[1] == "":
		case n+gap > column:
			b.WriteString("\n" + strings.Repeat(" ", column) + hang(r[1], column, width))
		default:
			b.WriteString(strings.Repeat(" ", column-n) + hang(r[1], column, width))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// exampleParts are the command line of an example and what it does.
func exampleParts(example string) (line, about string) {
	if i := strings.LastIndex(example, "  "); i >= 0 {
		return strings.TrimRight(example[:i], " "), example[i+2:]
	}
	return example, ""
}

// exampleLines shows an example. One that is too long goes on in the next line, so that
// it can still be copied.
func exampleLines(example string, width int) string {
	if utf8.RuneCountInString(example)+2 <= width {
		return "  " + example + "\n"
	}
	line, about := exampleParts(example)
	s := "  " + strings.Join(wrapWords(line, width-8), " \\\n      ") + "\n"
	if about != "" {
		s += "      # " + hang(about, 8, width) + "\n"
	}
	return s
}
