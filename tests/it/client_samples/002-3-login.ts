interface LoginCredentials {
email?: string;
username?: string;
password: string;
}
interface LoginResponse {
accessToken: string;
refreshToken: string;
user: {
id: number;
email: string;
username: string;
firstName: string;
lastName: string;
rol: string;
avatar: string;
status: string;
lastLogin: string;
createdAt: string;
permissions: string[];
stats: Record<string, any>;
};
}
async function login(credentials: LoginCredentials): Promise<LoginResponse> {
const response = await fetch('https://api.example.com/api/v1/auths/sign-in', {
method: 'POST',
headers: {
'Content-Type': 'application/json',
},
body: JSON.stringify(credentials),
});
if (!response.ok) {
throw new Error('Login failed');
}
const data = await response.json();
// Store tokens securely
localStorage.setItem('access_token', data.accessToken);
localStorage.setItem('refresh_token', data.refreshToken);
localStorage.setItem('user_data', JSON.stringify(data.user));
return data;
}
