// SPDX-License-Identifier: Apache-2.0

package output

import (
	"strings"
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

// ShortID is the first twelve digits of an id.
func ShortID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

// ellipsis shortens s to at most n characters, the last one being "…".
func ellipsis(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
