// A Nomad device plugin for machines without GPUs: it offers those that a JSON file lists, so that
// `device "nvidia/gpu"` is constrained, counted and reserved as with real ones.
//
// The file is named by HORDE_FAKE_GPUS and read again every second:
//
//	[{"uuid": "GPU-1", "name": "NVIDIA RTX A6000", "memory_mib": 49140, "driver_version": "580.95.05",
//	  "healthy": true}]
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/plugins"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/device"
	"github.com/hashicorp/nomad/plugins/shared/hclspec"
	"github.com/hashicorp/nomad/plugins/shared/structs"
)

const lookAgain = time.Second

// A listed GPU; Healthy is true unless the file says otherwise.
type listed struct {
	UUID          string `json:"uuid"`
	Name          string `json:"name"`
	MemoryMiB     int64  `json:"memory_mib"`
	DriverVersion string `json:"driver_version"`
	Healthy       *bool  `json:"healthy"`
}

type fakeGPUs struct {
	path   string
	logger hclog.Logger
}

func main() {
	plugins.Serve(func(logger hclog.Logger) interface{} {
		return &fakeGPUs{path: os.Getenv("HORDE_FAKE_GPUS"), logger: logger}
	})
}

func (f *fakeGPUs) PluginInfo() (*base.PluginInfoResponse, error) {
	return &base.PluginInfoResponse{
		Type:              base.PluginTypeDevice,
		PluginApiVersions: []string{device.ApiVersion010},
		PluginVersion:     "1.0.0",
		Name:              "horde-fake-gpus",
	}, nil
}

func (f *fakeGPUs) ConfigSchema() (*hclspec.Spec, error) { return hclspec.NewObject(nil), nil }

func (f *fakeGPUs) SetConfig(*base.Config) error { return nil }

// Fingerprint tells Nomad of the listed GPUs, and again whenever the file has changed.
func (f *fakeGPUs) Fingerprint(ctx context.Context) (<-chan *device.FingerprintResponse, error) {
	told := make(chan *device.FingerprintResponse)
	go func() {
		defer close(told)
		before := ""
		for ctx.Err() == nil {
			if text, err := os.ReadFile(f.path); err != nil {
				f.logger.Warn("cannot read the list of GPUs", "path", f.path, "error", err)
			} else if string(text) != before {
				before = string(text)
				send(ctx, told, fingerprint(text))
			}
			pause(ctx, lookAgain)
		}
	}()
	return told, nil
}

// Reserve does what NVIDIA's plugin does: name the GPUs to the task by its environment.
func (f *fakeGPUs) Reserve(uuids []string) (*device.ContainerReservation, error) {
	if len(uuids) == 0 {
		return nil, fmt.Errorf("asked to reserve no GPU")
	}
	return &device.ContainerReservation{Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(uuids, ",")}}, nil
}

// Stats has none to give; the channel only has to stay open.
func (f *fakeGPUs) Stats(ctx context.Context, _ time.Duration) (<-chan *device.StatsResponse, error) {
	none := make(chan *device.StatsResponse)
	go func() { <-ctx.Done(); close(none) }()
	return none, nil
}

func fingerprint(text []byte) *device.FingerprintResponse {
	var gpus []listed
	if err := json.Unmarshal(text, &gpus); err != nil {
		return device.NewFingerprintError(fmt.Errorf("the list of GPUs is no JSON: %w", err))
	}
	var groups []*device.DeviceGroup
	byModel := map[string]*device.DeviceGroup{}
	for _, gpu := range gpus {
		group := byModel[gpu.Name]
		if group == nil {
			group = &device.DeviceGroup{Vendor: "nvidia", Type: "gpu", Name: gpu.Name, Attributes: attributes(gpu)}
			byModel[gpu.Name] = group
			groups = append(groups, group)
		}
		healthy := gpu.Healthy == nil || *gpu.Healthy
		group.Devices = append(group.Devices, &device.Device{ID: gpu.UUID, Healthy: healthy})
	}
	return device.NewFingerprint(groups...)
}

// attributes has the names and units of NVIDIA's plugin; what the file does not say is as an idle H200 reported it.
func attributes(gpu listed) map[string]*structs.Attribute {
	return map[string]*structs.Attribute{
		"memory":           structs.NewIntAttribute(gpu.MemoryMiB, structs.UnitMiB),
		"driver_version":   structs.NewStringAttribute(gpu.DriverVersion),
		"bar1":             structs.NewIntAttribute(262144, structs.UnitMiB),
		"cores_clock":      structs.NewIntAttribute(345, structs.UnitMHz),
		"memory_clock":     structs.NewIntAttribute(3201, structs.UnitMHz),
		"pci_bandwidth":    structs.NewIntAttribute(49152, structs.UnitMBPerS),
		"power":            structs.NewIntAttribute(78, structs.UnitW),
		"display_state":    structs.NewStringAttribute("1"),
		"persistence_mode": structs.NewStringAttribute("1"),
	}
}

func send(ctx context.Context, to chan<- *device.FingerprintResponse, response *device.FingerprintResponse) {
	select {
	case to <- response:
	case <-ctx.Done():
	}
}

func pause(ctx context.Context, long time.Duration) {
	select {
	case <-time.After(long):
	case <-ctx.Done():
	}
}
