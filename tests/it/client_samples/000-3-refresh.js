fetch('https://dummyjson.com/auth/refresh', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ refreshToken: '/* YOUR_REFRESH_TOKEN_HERE */', // Optional, if not provided, the server will use the cookie
expiresInMins: 30, // optional (FOR ACCESS TOKEN), defaults to 60
}), credentials: 'include' // Include cookies (e.g., accessToken) in the request
}) .then(res => res.json()) .then(console.log);
