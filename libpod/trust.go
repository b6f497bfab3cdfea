// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/trust"
)

// The signature policy, under the engine's name.
type (
	// TrustSetting is a rule for the images of a registry.
	TrustSetting = trust.Setting
	// TrustEntry is one rule as it is shown.
	TrustEntry = trust.Entry
	// TrustListOptions say whose rules are shown.
	TrustListOptions = trust.ListOptions
)

// TrustSet puts a rule into the policy and returns the file that it is in.
func (e *Engine) TrustSet(s TrustSetting) (path string, err error) { return trust.Set(s) }

// TrustList reads the rules in force.
func (e *Engine) TrustList(o TrustListOptions) ([]TrustEntry, error) { return trust.List(o) }

// TrustPolicy is the file of the policy in force (path, or where it is empty
// the first that is found) as it is. Kind NotFound: there is none.
func (e *Engine) TrustPolicy(path string) ([]byte, error) {
	found, data, err := trust.InForce(path)
	if err == nil && found == "" {
		err = errs.WithHint(errs.New(errs.NotFound, "no policy.json is here: every image is accepted"), "write one: proa image trust set --type accept default")
	}
	return data, err
}
