// SPDX-License-Identifier: Apache-2.0

package read

import (
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
)

// ParseTime reads the value of --since and --until as Docker does: a Go
// duration before now, seconds since 1970 with up to nine decimals, or a date
// in RFC 3339 of which the end and the zone (then the local one) may be
// missing.
func ParseTime(value string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(value); err == nil {
		return now.Add(-d), nil
	}
	if t, ok := parseUnix(value); ok {
		return t, nil
	}
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02T15:04",
		"2006-01-02T15Z07:00", "2006-01-02T15", "2006-01-02Z07:00", "2006-01-02",
	} {
		if t, err := time.ParseInLocation(layout, value, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errs.WithHint(errs.New(errs.Invalid, "invalid time %q", value),
		"write a duration such as 10m, a date such as 2024-05-31T12:00:00Z, or seconds since 1970")
}

func parseUnix(value string) (time.Time, bool) {
	sec, frac, _ := strings.Cut(value, ".")
	s, err := strconv.ParseInt(sec, 10, 64)
	if err != nil || len(frac) > 9 {
		return time.Time{}, false
	}
	var n int64
	if frac != "" {
		if n, err = strconv.ParseInt(frac+strings.Repeat("0", 9-len(frac)), 10, 64); err != nil || n < 0 {
			return time.Time{}, false
		}
	}
	return time.Unix(s, n), true
}
