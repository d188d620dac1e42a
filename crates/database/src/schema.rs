//! The tables as diesel sees them; what each column means stands in the migrations.

diesel::table! {
    accounts (id) {
        id -> Text,
        name -> Text,
        created_at -> Timestamptz,
        endpoints_revision -> Uuid,
        allowed_private -> Array<Text>,
    }
}

diesel::table! {
    sources (id) {
        id -> Text,
        account_id -> Text,
        name -> Text,
        provider -> Text,
        enabled -> Bool,
        secrets -> Array<Binary>,
        verify_token -> Nullable<Binary>,
        settings -> Jsonb,
        revision -> BigInt,
        created_at -> Timestamptz,
        tokens -> Array<Binary>,
        body_limit -> Nullable<Integer>,
    }
}

diesel::table! {
    endpoints (id) {
        id -> Text,
        account_id -> Text,
        url -> Text,
        secrets -> Array<Binary>,
        event_types -> Array<Text>,
        enabled -> Bool,
        disabled_reason -> Nullable<Text>,
        revision -> BigInt,
        created_at -> Timestamptz,
        secret_ends -> Array<Nullable<Timestamptz>>,
        access -> Nullable<Binary>,
        source_ids -> Nullable<Array<Text>>,
        filter -> Nullable<Text>,
        format -> Text,
        schedule_s -> Nullable<Array<Integer>>,
        max_in_flight -> Nullable<Integer>,
        max_per_second -> Nullable<Double>,
        ordered_by -> Nullable<Text>,
        disabled_told -> Nullable<Integer>,
        give_up_on -> Nullable<Array<SmallInt>>,
    }
}

diesel::table! {
    events (id) {
        id -> Uuid,
        key_hash -> Binary,
        source_id -> Text,
        key -> Text,
        kind -> Text,
        event_type -> Nullable<Text>,
        sequence -> Nullable<BigInt>,
        deliveries_owed -> Integer,
        incarnation -> Text,
        number -> BigInt,
        occurred_at -> Nullable<Timestamptz>,
        received_at -> Timestamptz,
    }
}

diesel::table! {
    bodies (event_id, format) { event_id -> Uuid, format -> Text, body -> Binary, }
}

diesel::table! {
    deliveries (event_id, endpoint_id) {
        event_id -> Uuid,
        endpoint_id -> Text,
        webhook_id -> Text,
        state -> Text,
        attempts -> Integer,
        created_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        format -> Text,
        lane -> Nullable<Text>,
        abandoned_at -> Nullable<Timestamptz>,
        abandoned_reason -> Nullable<Text>,
    }
}

diesel::table! {
    due (event_id, endpoint_id) {
        event_id -> Uuid,
        endpoint_id -> Text,
        due_at -> Nullable<Timestamptz>,
        lease -> Nullable<BigInt>,
        attempts -> Integer,
        again -> Bool,
        lane -> Nullable<Text>,
        sequence -> Nullable<BigInt>,
        delivered_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    gates (endpoint_id) {
        endpoint_id -> Text,
        asked_until -> Timestamptz,
        rests_until -> Timestamptz,
        failures -> Integer,
        failing_since -> Nullable<Timestamptz>,
        is_open -> Bool,
        account_id -> Text,
        is_probed -> Bool,
    }
}

diesel::table! {
    attempts (event_id, endpoint_id, lease) {
        event_id -> Uuid,
        endpoint_id -> Text,
        lease -> BigInt,
        webhook_id -> Text,
        body_hash -> Binary,
        outcome -> Text,
        http_status -> Nullable<SmallInt>,
        detail -> Nullable<Text>,
        response_head -> Nullable<Binary>,
        started_at -> Timestamptz,
        duration_us -> BigInt,
        dns_us -> Nullable<Integer>,
        connect_us -> Nullable<Integer>,
        tls_us -> Nullable<Integer>,
        first_byte_us -> Nullable<Integer>,
    }
}

diesel::table! {
    quarantine (id) {
        id -> BigInt,
        incarnation -> Text,
        number -> BigInt,
        item -> Integer,
        source_id -> Text,
        reason -> Text,
        detail -> Text,
        raw -> Binary,
        created_at -> Timestamptz,
        replayed_at -> Nullable<Timestamptz>,
        closed_at -> Nullable<Timestamptz>,
        resolution -> Nullable<Text>,
        note -> Nullable<Text>,
    }
}

diesel::table! {
    quarantined_raw_events (incarnation, number) {
        incarnation -> Text,
        number -> BigInt,
        source_id -> Text,
        received_at -> Timestamptz,
        headers -> Jsonb,
        body -> Binary,
    }
}

diesel::table! {
    audit_log (id) {
        id -> BigInt,
        at -> Timestamptz,
        actor -> Text,
        action -> Text,
        target -> Text,
        detail -> Text,
    }
}

diesel::joinable!(endpoints -> accounts (account_id));
diesel::allow_tables_to_appear_in_same_query!(accounts, sources, endpoints, events, bodies, deliveries, due, attempts);

diesel::table! {
    receipts (incarnation, number) {
        incarnation -> Text,
        number -> BigInt,
        source_id -> Text,
        items -> Integer,
        committed -> Integer,
        quarantined -> Integer,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(quarantine, receipts);

diesel::table! {
    losses (incarnation, first) {
        incarnation -> Text,
        first -> BigInt,
        last -> Nullable<BigInt>,
        reason -> Text,
        actor -> Text,
        accepted_at -> Timestamptz,
    }
}

diesel::table! {
    messages (id) {
        id -> Uuid,
        source_id -> Text,
        external_id -> Text,
        direction -> Text,
        kind -> Nullable<Text>,
        status -> Nullable<Text>,
        content -> Nullable<Binary>,
        state -> Binary,
        provider_timestamp -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    retries (id) {
        id -> BigInt,
        filter -> Jsonb,
        actor -> Text,
        per_second -> Nullable<Double>,
        created_at -> Timestamptz,
        wanted -> BigInt,
        taken -> BigInt,
        due -> BigInt,
        last_event_id -> Nullable<Uuid>,
        last_endpoint_id -> Nullable<Text>,
        next_at -> Timestamptz,
        state -> Text,
        ended_at -> Nullable<Timestamptz>,
        waiting_in_lane -> BigInt,
        held -> BigInt,
        resting -> BigInt,
        gates -> Jsonb,
    }
}
