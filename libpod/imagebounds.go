// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// Bounds of what an image's configuration asks for. Each entry is a few bytes
// there, and a record, a directory or a socket here.
const (
	maxExposed   = 4096    // separate ranges of ports
	maxPublished = 1 << 16 // ports that -P publishes
	maxVolumes   = 1024
)

// checkImage refuses a configuration that takes much more than it says. What the
// user's flags replace does not count.
func checkImage(c *spec.Container, img *spec.ImageConfig) error {
	if n := len(img.Volumes); n > maxVolumes {
		return errs.New(errs.Invalid, "the image declares %d volumes; at most %d are accepted", n, maxVolumes)
	}
	if n := len(imagePorts(img)); n > maxExposed {
		return errs.New(errs.Invalid, "the image exposes %d separate ranges of ports; at most %d are accepted", n, maxExposed)
	}
	h := health(c, img)
	if h == nil {
		return nil
	}
	for _, d := range []struct {
		name, flag string
		value      time.Duration
	}{
		{"Interval", "interval", h.Interval}, {"Timeout", "timeout", h.Timeout},
		{"StartPeriod", "start-period", h.StartPeriod}, {"StartInterval", "start-interval", h.StartInterval},
	} {
		// Docker's rule, which holds for the flags, too.
		if d.value < 0 || d.value > 0 && d.value < time.Millisecond {
			return errs.WithHint(errs.New(errs.Invalid, "%s in the image's health check cannot be less than 1ms", d.name),
				"use --health-%s 30s, or --no-healthcheck", d.flag)
		}
	}
	if h.Retries < 0 {
		return errs.WithHint(errs.New(errs.Invalid, "Retries in the image's health check cannot be negative"),
			"use --health-retries 3, or --no-healthcheck")
	}
	return nil
}
