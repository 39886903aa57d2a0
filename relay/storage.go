package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// store is the stream that holds everything, reached through the client API alone: embedded or in
// a cluster it is the same. It keeps one record under each subject:
//
//	<prefix>.sub.<kid>.<id>                  the subscription: endpoint, keys, stash
//	<prefix>.tally.<kid>.<id>                how many messages were accepted, sent, failed; exists if and only if the subscription does
//	<prefix>.msg.<service>.<kid>.<id>.<key>  a message, encrypted; then, in its place, its receipt
//	<prefix>.msg.-.<kid>.<id>.tokens         the newest call for tokens
//	<prefix>.hold.<service>.<origin>         until when a push service wants to be left alone
//	<prefix>.probe                           nothing: written to see whether the disk takes anything again
//
// Each service has a durable pull consumer for <prefix>.msg.<service>.>.
//
// Its retention is by limits, and a finished message is replaced rather than acknowledged away: a work queue with SyncAlways
// syncs a tombstone for each message that is acknowledged (550 a second where this design has 10,000), and
// forgets Nats-Msg-Id at a restart. Records that are replaced in a batch cost no sync of their own.
type store struct {
	server *server.Server // nil in a cluster
	lock   *os.File       // of the data directory
	conn   *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	prefix string
}

// requestTime is how long the storage may take for one answer.
const requestTime = 5 * time.Second

func openStore(ctx context.Context, c Config, log *slog.Logger) (*store, error) {
	s := &store{prefix: strings.ToLower(c.Stream)}
	if err := s.connect(c, log); err != nil {
		s.close()
		return nil, err
	}
	if err := s.createStream(ctx, c); err != nil {
		s.close()
		return nil, fmt.Errorf("storage: stream %s: %w", c.Stream, err)
	}
	return s, nil
}

func (s *store) connect(c Config, log *slog.Logger) (err error) {
	options := []nats.Option{nats.Name("kms-relay"), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(false), nats.Timeout(requestTime), nats.ReconnectWait(250 * time.Millisecond)}
	url := strings.Join(c.NATS, ",")
	if url == "" {
		if s.lock, err = lockData(c.Data); err != nil {
			return fmt.Errorf("data: %w", err)
		}
		if s.server, err = startServer(c, log); err != nil {
			return err
		}
		options = append(options, nats.InProcessServer(s.server))
	}
	if c.NATSCredentials != "" {
		options = append(options, nats.UserCredentials(c.NATSCredentials))
	}
	if s.conn, err = nats.Connect(url, options...); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	s.js, err = jetstream.New(s.conn, jetstream.WithDefaultTimeout(requestTime))
	return err
}

// startServer starts the embedded server. It listens nowhere.
func startServer(c Config, log *slog.Logger) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{
		ServerName: "kms-relay", DontListen: true, NoSigs: true, JetStream: true, SyncAlways: true,
		StoreDir: filepath.Join(c.Data, "jetstream"), MaxPayload: 64 << 10,
		// The stream is bounded by itself; what is above is for batches that are being written.
		JetStreamMaxStore: c.MaxStore + c.MaxStore/4 + 64<<20, JetStreamMaxMemory: 16 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	s.SetLogger(serverLog{log}, false, false)
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		s.Shutdown()
		return nil, errors.New("storage: the embedded server did not start within 30s")
	}
	if !s.JetStreamEnabled() {
		s.Shutdown()
		return nil, fmt.Errorf("storage: JetStream does not start in %s", c.Data)
	}
	return s, nil
}

func (s *store) createStream(ctx context.Context, c Config) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s.stream, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:               c.Stream,
		Subjects:           []string{s.prefix + ".>"},
		Storage:            jetstream.FileStorage,
		Replicas:           c.Replicas,
		MaxMsgsPerSubject:  1,
		MaxBytes:           c.MaxStore,
		Discard:            jetstream.DiscardNew,
		AllowMsgTTL:        true,
		AllowAtomicPublish: true,
		AllowDirect:        c.Replicas == 1, // a replica may answer directly, and lag behind
		MaxMsgSize:         64 << 10,
	})
	return err
}

func (s *store) close() {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}
	if s.lock != nil {
		s.lock.Close()
	}
}

func (s *store) subSubject(k subscriptionKey) string {
	return s.prefix + ".sub." + k.kid + "." + k.id
}

func (s *store) tallySubject(k subscriptionKey) string {
	return s.prefix + ".tally." + k.kid + "." + k.id
}

func (s *store) messageSubject(service string, k subscriptionKey, key string) string {
	return s.prefix + ".msg." + service + "." + k.kid + "." + k.id + "." + key
}

// keyFilter matches a message's record whatever push service it was for.
func (s *store) keyFilter(k subscriptionKey, key string) string { return s.messageSubject("*", k, key) }

// eventFilter matches what events are made from.
func (s *store) eventFilter(k subscriptionKey) string { return s.messageSubject("*", k, "*") }

func (s *store) tokensSubject(k subscriptionKey) string { return s.messageSubject("-", k, "tokens") }

// last returns the newest record that a filter matches; jetstream.ErrMsgNotFound if there is none.
func (s *store) last(ctx context.Context, filter string) (*jetstream.RawStreamMsg, error) {
	return s.stream.GetLastMsgForSubject(ctx, filter)
}

// next returns the first record from a sequence on that a filter matches.
func (s *store) next(ctx context.Context, from uint64, filter string) (*jetstream.RawStreamMsg, error) {
	return s.stream.GetMsg(ctx, max(from, 1), jetstream.WithGetMsgSubject(filter))
}

// purge deletes all that filters match.
func (s *store) purge(ctx context.Context, filters ...string) error {
	for _, filter := range filters {
		if err := s.stream.Purge(ctx, jetstream.WithPurgeSubject(filter)); err != nil {
			return fmt.Errorf("purge: %w", err)
		}
	}
	return nil
}

// bytes returns how much the stream holds.
func (s *store) bytes(ctx context.Context) (uint64, error) {
	info, err := s.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.State.Bytes, nil
}

// writable returns an error unless something can be written.
func (s *store) writable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	_, err := s.js.Publish(ctx, s.prefix+".probe", nil)
	return err
}

// serverLog takes what the embedded server has to say.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(string, ...any) {}
func (l serverLog) Debugf(string, ...any)  {}
func (l serverLog) Tracef(string, ...any)  {}
func (l serverLog) Warnf(f string, v ...any) {
	l.log.Warn("storage", "text", fmt.Sprintf(f, v...))
}

func (l serverLog) Errorf(f string, v ...any) {
	l.log.Error("storage", "text", fmt.Sprintf(f, v...))
}

func (l serverLog) Fatalf(f string, v ...any) {
	l.log.Error("storage", "text", fmt.Sprintf(f, v...))
}
