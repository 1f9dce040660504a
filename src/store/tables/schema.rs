//! The tables as both databases have them after their migrations; a test compares.

diesel::table! {
    accounts (id) {
        id -> BigInt,
        uuid -> Binary,
        email -> Nullable<Text>,
        email_canonical -> Nullable<Text>,
        email_verified -> Bool,
        username -> Nullable<Text>,
        username_canonical -> Nullable<Text>,
        name -> Nullable<Text>,
        name_canonical -> Nullable<Text>,
        first_name -> Nullable<Text>,
        last_name -> Nullable<Text>,
        gender -> Nullable<Text>,
        image -> Nullable<Text>,
        phone -> Nullable<Text>,
        role -> Text,
        permissions -> Text,
        stats -> Text,
        profile -> Text,
        status -> Text,
        epoch -> BigInt,
        password -> Nullable<Text>,
        pin -> Nullable<Text>,
        last_sign_in_at -> Nullable<BigInt>,
        created_at -> BigInt,
        updated_at -> BigInt,
        must_change_password -> Bool,
    }
}

diesel::table! {
    sessions (id) {
        id -> Binary,
        account_id -> BigInt,
        dialect -> Text,
        epoch -> BigInt,
        generation -> BigInt,
        min_generation -> BigInt,
        key_id -> Text,
        rotated_at -> BigInt,
        confirmed_at -> Nullable<BigInt>,
        created_at -> BigInt,
        last_seen_at -> BigInt,
        idle_expires_at -> BigInt,
        expires_at -> BigInt,
        access_expires_at -> BigInt,
        persistent -> Bool,
        device_id -> Nullable<Text>,
        device_name -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        address -> Nullable<Text>,
        ended_at -> Nullable<BigInt>,
        end_reason -> Nullable<Text>,
        parent -> Nullable<BigInt>,
        access_ttl -> BigInt,
    }
}

diesel::table! {
    opaque_tokens (digest) {
        digest -> Binary,
        session_id -> Binary,
        generation -> BigInt,
    }
}

diesel::table! {
    revocations (id) {
        id -> BigInt,
        session_id -> Nullable<Binary>,
        generation -> Nullable<BigInt>,
        account_uuid -> Nullable<Binary>,
        epoch -> Nullable<BigInt>,
        except_session_id -> Nullable<Binary>,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    throttles (key) {
        key -> Text,
        failures -> BigInt,
        blocked_until -> Nullable<BigInt>,
        updated_at -> BigInt,
        expires_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    nodes (id) {
        id -> Binary,
        signing_keys -> Text,
        peppers -> Text,
        seen_at -> BigInt,
        clock_offset -> BigInt,
    }
}

diesel::table! {
    canonical_forms (version) {
        version -> BigInt,
    }
}

diesel::table! {
    audit_events (id) {
        id -> BigInt,
        at -> BigInt,
        kind -> Text,
        account_id -> Nullable<BigInt>,
        session_id -> Nullable<Binary>,
        address -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        request_id -> Nullable<Text>,
        detail -> Nullable<Text>,
        count -> BigInt,
        minute -> Nullable<BigInt>,
    }
}

diesel::table! {
    pending_sign_ups (id) {
        id -> Binary,
        email -> Text,
        email_canonical -> Text,
        username -> Nullable<Text>,
        username_canonical -> Nullable<Text>,
        name -> Nullable<Text>,
        name_canonical -> Nullable<Text>,
        first_name -> Nullable<Text>,
        last_name -> Nullable<Text>,
        gender -> Nullable<Text>,
        image -> Nullable<Text>,
        phone -> Nullable<Text>,
        profile -> Text,
        password -> Text,
        language -> Text,
        return_to -> Nullable<Text>,
        tries -> BigInt,
        mail_attempts -> BigInt,
        mail_due_at -> Nullable<BigInt>,
        mailed_at -> Nullable<BigInt>,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::joinable!(sessions -> accounts (account_id));
diesel::allow_tables_to_appear_in_same_query!(accounts, sessions);
