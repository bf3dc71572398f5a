//go:build tools

// Package tools names the two programs that overlays are tried with, so that go.mod holds what they need.
package tools

import (
	_ "k8s.io/kubectl/pkg/cmd"
	_ "k8s.io/kubernetes/cmd/kube-apiserver/app"
)
