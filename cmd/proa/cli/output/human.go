// SPDX-License-Identifier: Apache-2.0

package output

import (
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	units "github.com/docker/go-units"
)

// Ago is "2 minutes ago", or "" for the zero time.
func Ago(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return units.HumanDuration(now.Sub(t)) + " ago"
}

// Size is an amount of bytes in decimal units: 5.64MB.
func Size(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) }

// IEC is an amount of bytes in binary units: 7.75GiB.
func IEC(n uint64) string { return units.BytesSize(float64(n)) }

// ellipsis shortens s to at most n characters, the last one being "…".
func ellipsis(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	end := Drawn("…")
	return string([]rune(s)[:n-utf8.RuneCountInString(end)]) + end
}

// Drawn is text with the few characters that Proa draws itself (an ellipsis, the
// lines of a tree) in ASCII where the locale says that the terminal shows no
// others. A locale that nobody set says nothing.
func Drawn(text string) string {
	if !plainText() {
		return text
	}
	return ascii.Replace(text)
}

var ascii = strings.NewReplacer("…", "...", "├── ", "|-- ", "└── ", "`-- ", "│   ", "|   ")

// plainText says whether the locale has another character set than UTF-8.
var plainText = sync.OnceValue(func() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(name); v != "" {
			v = strings.ToLower(v)
			return !strings.Contains(v, "utf-8") && !strings.Contains(v, "utf8")
		}
	}
	return false
})
