package relay

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kms-enclave/kms-enclave/webpush"
)

// metrics are what /metrics shows. Their labels are of fixed sets: nothing in them is a client's choice.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.HistogramVec
	problems  *prometheus.CounterVec
	messages  prometheus.Counter
	outcomes  *prometheus.CounterVec
	attempts  *prometheus.HistogramVec
	batches   prometheus.Histogram
	batchTime prometheus.Histogram
}

func newMetrics(r *Relay) *metrics {
	m := &metrics{
		registry:  prometheus.NewRegistry(),
		requests:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kms_relay_request_seconds", Help: "Requests by route, method and status."}, []string{"route", "method", "status"}),
		problems:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kms_relay_problems_total", Help: "Requests of /v1 that were answered with a problem, by its code."}, []string{"code"}),
		messages:  prometheus.NewCounter(prometheus.CounterOpts{Name: "kms_relay_accepted_total", Help: "Messages that were accepted."}),
		outcomes:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kms_relay_outcomes_total", Help: "Messages by what became of them."}, []string{"outcome"}),
		attempts:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kms_relay_attempt_seconds", Help: "Attempts by push service and how they ended."}, []string{"service", "result"}),
		batches:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kms_relay_batch_records", Help: "Records that were written as one batch.", Buckets: prometheus.ExponentialBuckets(2, 2, 10)}),
		batchTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kms_relay_batch_seconds", Help: "How long the storage took for one batch."}),
	}
	m.registry.MustRegister(m.requests, m.problems, m.messages, m.outcomes, m.attempts, m.batches, m.batchTime,
		gauge("kms_relay_stored_bytes", "Bytes in the stream; -1 if the storage does not answer.", r.storedBytes),
		gauge("kms_relay_event_streams", "Open event streams.", r.streamCount))
	return m
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

func (r *Relay) storedBytes() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	bytes, err := r.store.bytes(ctx)
	if err != nil {
		return -1
	}
	return float64(bytes)
}

func (r *Relay) streamCount() float64 {
	r.streams.mu.Lock()
	defer r.streams.mu.Unlock()
	return float64(r.streams.all)
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *metrics) request(route string, known bool, method string, status int, took time.Duration) {
	if !known {
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Observe(took.Seconds())
}

func (m *metrics) problem(code string)     { m.problems.WithLabelValues(code).Inc() }
func (m *metrics) accepted()               { m.messages.Inc() }
func (m *metrics) finished(outcome string) { m.outcomes.WithLabelValues(outcome).Inc() }

func (m *metrics) attempt(s *service, took time.Duration, err error) {
	result := "sent"
	if answer, ok := errors.AsType[*webpush.ServiceError](err); ok {
		result = strconv.Itoa(answer.Status/100) + "xx"
	} else if err != nil {
		result = "unreachable"
	}
	m.attempts.WithLabelValues(s.pattern, result).Observe(took.Seconds())
}

func (m *metrics) commit(records int, took time.Duration) {
	m.batches.Observe(float64(records))
	m.batchTime.Observe(took.Seconds())
}
