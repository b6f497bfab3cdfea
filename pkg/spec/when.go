// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
)

// ParseWhen understands a point in time: RFC 3339 with or without the zone,
// a date, seconds since 1970, or a duration before now ("10m").
func ParseWhen(now time.Time, s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	if sec, frac, _ := strings.Cut(s, "."); sec != "" && strings.Trim(sec+frac, "0123456789") == "" {
		n, err := strconv.ParseInt(sec, 10, 64)
		ns, _ := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
		if err == nil {
			return time.Unix(n, ns), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02T15",
		"2006-01-02 15:04:05", "2006-01-02Z07:00", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errs.WithHint(errs.New(errs.Invalid, "failed to parse value as time or duration: %q", s),
		"write 2026-01-31T13:23:37, 1769865817 or 10m for ten minutes ago")
}
