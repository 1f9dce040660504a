/* providing accessToken in bearer */ fetch('https://dummyjson.com/auth/me', { method: 'GET', headers: { 'Authorization': 'Bearer /* YOUR_ACCESS_TOKEN_HERE */', // Pass JWT via Authorization header
}, credentials: 'include' // Include cookies (e.g., accessToken) in the request
}) .then(res => res.json()) .then(console.log);
