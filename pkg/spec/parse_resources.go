// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
)

const sizeHint = "write a number with an optional unit b, k, m, g or t, as in 512m"

// ParseSize parses an amount of bytes: 1024, 64k, 512m, 1.5g, with the binary
// meaning of the units, as Docker does.
func ParseSize(value string) (int64, error) {
	bad := invalid(sizeHint, "invalid size: '%s'", value)
	s := strings.ToLower(strings.TrimSpace(value))
	s = strings.TrimSuffix(s, "b")
	s = strings.TrimSuffix(s, "i")
	shift := 0
	if s != "" {
		if i := strings.IndexByte("kmgtp", s[len(s)-1]); i >= 0 {
			shift = 10 * (i + 1)
			s = strings.TrimRight(s[:len(s)-1], " ")
		}
	}
	if s == "" || strings.Trim(s, "0123456789.") != "" {
		return 0, bad
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, bad
	}
	f *= float64(uint64(1) << shift)
	if f >= 1<<63 {
		return 0, bad
	}
	return int64(f), nil
}

// ParseMemorySwap parses --memory-swap: a size, or -1 for no limit.
func ParseMemorySwap(value string) (int64, error) {
	if value == "-1" {
		return -1, nil
	}
	return ParseSize(value)
}

// ParseCPUs parses --cpus into 1e-9 CPUs.
func ParseCPUs(value string) (int64, error) {
	const hint = "write a number of CPUs, as in 1.5"
	// A short text only: big.Rat would spend hours on "1e999999999".
	if len(value) > 32 || strings.ContainsAny(value, "eEpPxX/_") {
		return 0, invalid(hint, "failed to parse %v as a rational number", value)
	}
	r, ok := new(big.Rat).SetString(value)
	if !ok {
		return 0, invalid(hint, "failed to parse %v as a rational number", value)
	}
	r.Mul(r, big.NewRat(1e9, 1))
	if !r.IsInt() {
		return 0, invalid(hint, "value is too precise")
	}
	if !r.Num().IsInt64() || r.Sign() < 0 {
		return 0, invalid(hint, "invalid number of CPUs: %s", value)
	}
	return r.Num().Int64(), nil
}

var ulimitNames = []string{"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
	"nproc", "rss", "rtprio", "rttime", "sigpending", "stack"}

// ParseUlimit parses one --ulimit: NAME=SOFT[:HARD], -1 being unlimited.
func ParseUlimit(value string) (Ulimit, error) {
	const hint = "write NAME=SOFT[:HARD], as in nofile=1024:4096"
	name, limits, ok := strings.Cut(value, "=")
	if !ok {
		return Ulimit{}, invalid(hint, "invalid ulimit argument: %s", value)
	}
	if !slices.Contains(ulimitNames, name) {
		return Ulimit{}, invalid("one of "+strings.Join(ulimitNames, ", "), "invalid ulimit type: %s", name)
	}
	soft, hard, two := strings.Cut(limits, ":")
	if two && strings.Contains(hard, ":") {
		return Ulimit{}, invalid(hint, "too many limit values - %s, can only have up to two, `soft[:hard]`", limits)
	}
	if !two {
		hard = soft
	}
	u := Ulimit{Name: name}
	for _, v := range []struct {
		text string
		to   *int64
	}{{soft, &u.Soft}, {hard, &u.Hard}} {
		if v.text == "unlimited" {
			v.text = "-1"
		}
		n, err := strconv.ParseInt(v.text, 10, 64)
		if err != nil || n < -1 {
			return Ulimit{}, invalid(hint, "invalid ulimit value %q in %s", v.text, value)
		}
		*v.to = n
	}
	if u.Hard != -1 && (u.Soft == -1 || u.Soft > u.Hard) {
		return Ulimit{}, invalid("raise the hard limit", "ulimit soft limit must be less than or equal to hard limit: %d > %d", u.Soft, u.Hard)
	}
	return u, nil
}

// RestartPolicies are the words of --restart. "on-failure" may have a count behind a colon.
var RestartPolicies = []string{"no", "always", "on-failure", "unless-stopped"}

// ParseRestart parses --restart.
func ParseRestart(value string) (Restart, error) {
	name, count, has := strings.Cut(value, ":")
	r := Restart{Name: name}
	if has {
		n, err := strconv.Atoi(count)
		if err != nil {
			return Restart{}, invalid("write on-failure:5", "invalid restart policy format: maximum retry count must be an integer")
		}
		r.MaxRetries = n
	}
	switch name {
	case "":
		if has {
			return Restart{}, invalid("write on-failure:5", "invalid restart policy format: no policy provided before colon")
		}
	case "no", "always", "unless-stopped":
		if has {
			return Restart{}, invalid("write --restart "+name, "invalid restart policy: maximum retry count can only be used with 'on-failure'")
		}
	case "on-failure":
		if r.MaxRetries < 0 {
			return Restart{}, invalid("omit the count for no limit", "invalid restart policy: maximum retry count cannot be negative")
		}
	default:
		return Restart{}, invalid("write --restart "+strings.Join(RestartPolicies, ", ")+" (on-failure:N for N attempts)",
			"invalid restart policy: unknown policy '%s'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'", name)
	}
	return r, nil
}

// ParseCpuset checks a list of CPUs or memory nodes: 0-3,5.
func ParseCpuset(value string) (string, error) {
	const hint = "write a list such as 0-3 or 0,2"
	for _, part := range strings.Split(value, ",") {
		a, b, isRange := strings.Cut(part, "-")
		lo, err := strconv.ParseUint(a, 10, 16)
		if err != nil {
			return "", invalid(hint, "invalid value %s for cpuset", value)
		}
		if isRange {
			hi, err := strconv.ParseUint(b, 10, 16)
			if err != nil || hi < lo {
				return "", invalid(hint, "invalid value %s for cpuset", value)
			}
		}
	}
	return value, nil
}

// PullPolicies are the words of --pull.
var PullPolicies = []string{string(PullAlways), string(PullMissing), string(PullNever), string(PullNewer)}

// ParsePullPolicy parses --pull.
func ParsePullPolicy(value string) (PullPolicy, error) {
	switch value {
	case "", "ifmissing":
		return PullMissing, nil
	case "true":
		return PullAlways, nil
	}
	if slices.Contains(PullPolicies, value) {
		return PullPolicy(value), nil
	}
	return "", invalid("write --pull "+strings.Join(PullPolicies, ", "), "invalid pull option: '%s': must be one of \"always\", \"missing\" or \"never\"", value)
}
