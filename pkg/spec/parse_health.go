// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"encoding/json"
	"strings"
	"time"
)

// HealthFlags are --health-* and --no-healthcheck as written; empty texts and
// zero numbers were not given.
type HealthFlags struct {
	Cmd                                           string
	Interval, Timeout, StartPeriod, StartInterval string
	Retries                                       int
	Disable                                       bool
}

// ParseHealth makes a Health of the flags; nil when none was given.
func ParseHealth(f HealthFlags) (*Health, error) {
	given := f.Cmd != "" || f.Interval != "" || f.Timeout != "" || f.StartPeriod != "" || f.StartInterval != "" || f.Retries != 0
	if f.Disable {
		if given {
			return nil, invalid("omit the --health-* flags or --no-healthcheck", "--no-healthcheck conflicts with --health-* options")
		}
		return &Health{Test: []string{"NONE"}}, nil
	}
	if !given {
		return nil, nil
	}
	if f.Retries < 0 {
		return nil, invalid("omit it for 3", "--health-retries cannot be negative")
	}
	h := &Health{Test: healthTest(f.Cmd), Retries: f.Retries}
	for _, d := range []struct {
		flag, text string
		to         *time.Duration
	}{
		{"interval", f.Interval, &h.Interval}, {"timeout", f.Timeout, &h.Timeout},
		{"start-period", f.StartPeriod, &h.StartPeriod}, {"start-interval", f.StartInterval, &h.StartInterval},
	} {
		if d.text == "" || d.text == "disable" {
			continue
		}
		v, err := time.ParseDuration(d.text)
		if err != nil {
			return nil, invalid("write a duration such as 30s or 1m30s", "invalid value %q for --health-%s", d.text, d.flag)
		}
		if v < 0 || v > 0 && v < time.Millisecond {
			return nil, invalid("use one millisecond or more", "--health-%s cannot be less than 1ms", d.flag)
		}
		*d.to = v
	}
	return h, nil
}

// healthTest takes a shell line, podman's JSON array, or "none".
func healthTest(cmd string) []string {
	if cmd == "" {
		return nil
	}
	if cmd == "none" {
		return []string{"NONE"}
	}
	var argv []string
	if strings.HasPrefix(cmd, "[") && json.Unmarshal([]byte(cmd), &argv) == nil && len(argv) > 0 {
		switch argv[0] {
		case "CMD", "CMD-SHELL", "NONE":
			return argv
		}
		return append([]string{"CMD"}, argv...)
	}
	return []string{"CMD-SHELL", cmd}
}
